"""Requests go to another worker while a provider is overloaded, and return when the overload is over.

After three failures in a row, openai gets no requests (its breaker is open). After some seconds one request passes as
a trial (half-open), and when it succeeds, the others follow. Runs on simulated providers in virtual time: the program
does not wait for the seconds that it prints.
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
                before = len(openai.requests)
                reply = await cortex.complete("Hello?")
                used = "used" if len(openai.requests) > before else "skipped"
                seconds = trio.current_time() - start
                print(f"{seconds:4.1f} s: openai was {used:<7}, {reply.worker} served")
                await trio.sleep(1)


if __name__ == "__main__":
    trio.run(main, clock=MockClock(autojump_threshold=0))
