"""Overload is seen, the load moves away, and comes back when the overload is over.

After three failures in a row no request is sent to openai any more (its breaker is open); after some seconds one
request is let through to look, and when that goes well, the others follow. Runs on simulated providers, in virtual
time: the seconds are told, not waited for.
"""

import trio
from trio.testing import MockClock

from cortex_trio import FailureKind, open_cortex
from cortex_trio.simulator import Behaviour, open_simulator

OVERLOADED = Behaviour(error=FailureKind.OVERLOADED)


async def main() -> None:
    async with open_simulator() as simulator:
        openai = simulator.add("openai", OVERLOADED)
        simulator.add("anthropic")

        async with open_cortex(simulator.config(), http_transport=simulator.transport) as cortex:
            start = trio.current_time()
            for _ in range(9):
                if trio.current_time() - start >= 6:
                    openai.behave(Behaviour())  # it has recovered
                asked_before = len(openai.requests)
                reply = await cortex.complete("Hello?")
                asked = "asked" if len(openai.requests) > asked_before else "left alone"
                seconds = trio.current_time() - start
                print(f"{seconds:4.1f} s: openai was {asked:<10}, {reply.worker} served")
                await trio.sleep(1)


if __name__ == "__main__":
    trio.run(main, clock=MockClock(autojump_threshold=0))
