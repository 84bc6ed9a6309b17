"""CPU time of the kernel: calls, casts, restarts and idle servers. Run: `python -m benchmarks.kernel`.

Every figure is CPU time (user and system) as a ratio to a bare round trip between two tasks with the same number
of clients, measured in turns in the same run, medians of rounds; absolute figures say more about the machine.
The bare round trip does what no message passing on Trio can do without: wake the other task, sleep, be woken.
triotp and pykka are measured too where they can be imported; the actors of pykka are threads.
"""

import gc
import logging
import math
import statistics
import time
import tracemalloc
import types
from collections import deque
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any

import attrs
import outcome
import trio
import trio.testing

from cortex_trio.otp import Child, DynamicSupervisor, GenServer, Ref, Supervisor, run

ROUNDS = 7
TRIPS = 4000  # messages in one round, by all clients together
RESTARTS = 200
IDLE = 10_000

Act = Callable[[], Awaitable[object]]


@attrs.frozen
class Figure:
    """One line of the table."""

    what: str
    cost: Callable[[], Awaitable[float]]  # CPU seconds per operation
    floor: int  # clients of the bare round trip it is compared with
    goal: str = ""


class Counter(GenServer):
    def __init__(self) -> None:
        self.value = 0

    async def add(self, number: int) -> int:
        self.value += number
        return self.value

    async def crash(self) -> None:
        raise ValueError


# ---------------------------------------------------------------- what is measured


async def spend(clients: int, trips: int, trip: Act) -> float:
    """CPU seconds per trip, when `clients` tasks share them."""

    async def client() -> None:
        for _ in range(trips // clients):
            await trip()

    gc.collect()
    begin = time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(client)
    return (time.process_time() - begin) / trips


async def bare(clients: int) -> float:
    """The floor: a client wakes the server and sleeps, the server wakes it and sleeps."""
    waiting: deque[trio.lowlevel.Task] = deque()
    asleep: list[trio.lowlevel.Task] = []

    def abort(_: object) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.SUCCEEDED

    async def server() -> None:
        while True:
            asleep.append(trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(abort)
            while waiting:
                trio.lowlevel.reschedule(waiting.popleft(), outcome.Value(None))

    async def trip() -> None:
        waiting.append(trio.lowlevel.current_task())
        if asleep:
            trio.lowlevel.reschedule(asleep.pop())
        await trio.lowlevel.wait_task_rescheduled(abort)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        await trio.testing.wait_all_tasks_blocked()
        cost = await spend(clients, TRIPS, trip)
        nursery.cancel_scope.cancel()
    return cost


async def with_counter(measure: Callable[[Ref[Counter]], Awaitable[float]]) -> float:
    counter: Ref[Counter] = Ref("counter")
    async with trio.open_nursery() as nursery:
        await nursery.start(run, Supervisor([Child(ref=counter, start=Counter)], max_restarts=10**9))
        cost = await measure(counter)
        nursery.cancel_scope.cancel()
    return cost


def calls(clients: int) -> Callable[[], Awaitable[float]]:
    async def measure(counter: Ref[Counter]) -> float:
        return await spend(clients, TRIPS, lambda: counter.call(Counter.add, 1))

    return lambda: with_counter(measure)


async def casts() -> float:
    async def measure(counter: Ref[Counter]) -> float:
        async def burst() -> None:
            for _ in range(100):
                counter.cast(Counter.add, 1)  # type: ignore[arg-type]
            await counter.call(Counter.add, 1)

        return await spend(1, TRIPS // 100, burst) / 100

    return await with_counter(measure)


async def restarts() -> float:
    async def measure(counter: Ref[Counter]) -> float:
        async def crash() -> None:
            counter.cast(Counter.crash)
            await counter.monitor().down()
            while not counter.alive:
                await trio.lowlevel.checkpoint()

        return await spend(1, RESTARTS, crash)

    return await with_counter(measure)


# ---------------------------------------------------------------- others


async def triotp_calls(clients: int) -> float:
    from triotp import gen_server, mailbox

    server: Any = types.ModuleType("server")

    async def init(_: object) -> int:
        return 0

    async def handle_call(number: int, caller: object, state: int) -> tuple[object, int]:
        return gen_server.Reply(payload=state + number), state + number

    server.init, server.handle_call = init, handle_call
    mailbox._init()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gen_server.start, server, None, "counter")
        await trio.testing.wait_all_tasks_blocked()
        cost = await spend(clients, TRIPS, lambda: gen_server.call("counter", 1))
        nursery.cancel_scope.cancel()
    return cost


async def pykka_calls() -> float:
    import pykka

    class Actor(pykka.ThreadingActor):
        def __init__(self) -> None:
            super().__init__()
            self.value = 0

        def on_receive(self, message: int) -> int:
            self.value += message
            return self.value

    ref = Actor.start()
    begin = time.process_time()
    for _ in range(TRIPS):
        ref.ask(1)
    cost = (time.process_time() - begin) / TRIPS
    ref.stop()
    return cost


# ---------------------------------------------------------------- memory


async def idle_task_bytes() -> float:
    async with trio.open_nursery() as nursery:
        tracemalloc.start()
        for _ in range(IDLE):
            nursery.start_soon(trio.sleep_forever)
        await trio.testing.wait_all_tasks_blocked()
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        nursery.cancel_scope.cancel()
    return used / IDLE


async def idle_server_bytes() -> float:
    pool: Ref[DynamicSupervisor] = Ref("pool")
    async with trio.open_nursery() as nursery:
        await nursery.start(run, Supervisor([Child(ref=pool, start=DynamicSupervisor, shutdown=math.inf)]))
        tracemalloc.start()
        for number in range(IDLE):
            ref: Ref[Counter] = Ref(f"idle {number}")
            await pool.call(DynamicSupervisor.start_child, Child(ref=ref, start=Counter))
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        nursery.cancel_scope.cancel()
    return used / IDLE


# ---------------------------------------------------------------- the table

FIGURES = [
    Figure("call, 1 client", calls(1), 1, goal="goal: at most 1.7"),
    Figure("call, 50 clients", calls(50), 50, goal="goal: at most 4"),
    Figure("cast", casts, 1),
    Figure("crash and restart", restarts, 1),
]
OTHERS = {
    "triotp": [
        Figure("triotp: call, 1 client", lambda: triotp_calls(1), 1),
        Figure("triotp: call, 50 clients", lambda: triotp_calls(50), 50),
    ],
    "pykka": [Figure("pykka (threads): ask", pykka_calls, 1)],
}


async def main() -> None:
    logging.getLogger("cortex_trio.otp").setLevel(logging.CRITICAL + 1)  # crashes are the workload here
    servers, tasks = await idle_server_bytes(), await idle_task_bytes()
    figures = FIGURES + [figure for name, theirs in OTHERS.items() if find_spec(name) for figure in theirs]
    ratios: dict[str, list[float]] = {figure.what: [] for figure in figures}
    floors: dict[int, list[float]] = {1: [], 50: []}
    for _ in range(ROUNDS):
        floor = {clients: await bare(clients) for clients in floors}
        for clients, cost in floor.items():
            floors[clients].append(cost)
        for figure in figures:
            ratios[figure.what].append(await figure.cost() / floor[figure.floor])
    for clients, costs in floors.items():
        show(f"bare round trip, {clients} at a time", 1, f"{statistics.median(costs) * 1e6:.1f} µs")
    for figure in figures:
        show(figure.what, statistics.median(ratios[figure.what]), figure.goal)
    show("memory of an idle server", servers / tasks, f"{servers:,.0f} bytes; a bare idle task: {tasks:,.0f}")


def show(what: str, ratio: float, remark: str) -> None:
    print(f"{what:<32}{ratio:>6.1f}   {remark}".rstrip())


if __name__ == "__main__":
    trio.run(main)
