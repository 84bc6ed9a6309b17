"""Supervision without language models: a counter that crashes and is restarted.

Run it: python examples/own_tree.py
"""

import logging
import math

import trio

from cortex_trio.otp import ActorExited, Child, GenServer, Ref, Supervisor, TaskSupervisor, describe, run


class Counter(GenServer):
    """State is `self`; every async method is a message."""

    def __init__(self) -> None:
        self.value = 0

    async def add(self, number: int) -> int:
        self.value += number
        return self.value

    async def divide(self, number: int) -> None:
        self.value //= number


async def main() -> None:
    logging.getLogger("cortex_trio.otp").setLevel(logging.CRITICAL)  # the reports below show the same
    counter: Ref[Counter] = Ref("counter")
    tasks: Ref[TaskSupervisor] = Ref("tasks")
    root = Supervisor(
        [Child(ref=counter, start=Counter), Child(ref=tasks, start=TaskSupervisor, shutdown=math.inf)],
        report=lambda report: print(f"  {report.kind}: {report.child}"),
    )
    async with trio.open_nursery() as nursery:
        tree = await nursery.start(run, root)
        print("it counted to", await counter.call(Counter.add, 2))
        try:
            await counter.call(Counter.divide, 0)
        except ActorExited as exited:
            await tree.call(Supervisor.which_children)  # answered after the restart
            print("the call failed from", repr(exited.__cause__))
        print("a new one counts to", await counter.call(Counter.add, 1))
        print(describe(tree))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
