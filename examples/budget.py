"""A budget stops an agent in time: it counts all tasks, and attempts that failed.

The first worker is cut in the middle of its answers, so a call pays for all attempts. Runs on simulated providers in
memory: no API keys, no network.
"""

import trio

from cortex_trio import BudgetExceeded, Config, Cortex, Price, Usage, open_cortex
from cortex_trio.simulator import Behaviour, open_simulator

PRICES = {"good-model": Price(input=10.0, output=30.0), "cheap-model": Price(input=1.0, output=3.0)}
TOKENS = Usage(input_tokens=50_000, output_tokens=10_000)


async def research(cortex: Cortex, topic: str) -> None:
    reply = await cortex.complete(f"What is known about {topic}?")
    parts = [f"{attempt.worker} ${attempt.cost or 0:.2f}" for attempt in reply.attempts]
    print(f"{topic}: ${reply.cost:.2f} ({', '.join(parts)})")


async def main() -> None:
    async with open_simulator() as simulator:
        cut = Behaviour(text="It is known that", usage=TOKENS, cut_after=2)
        first = simulator.add("anthropic", cut, models=["good-model"])
        second = simulator.add(
            "openai", Behaviour(text="Much is known.", usage=TOKENS), models=["cheap-model"]
        )
        config = Config(
            workers={"anthropic": first.worker(priority=1), "openai": second.worker(priority=2)},
            prices=PRICES,
            max_attempts=3,
        )
        async with open_cortex(config, http_transport=simulator.transport) as cortex:
            async with cortex.budget(usd=1.0) as spending:
                try:
                    for topic in ("otters", "beavers"):
                        async with trio.open_nursery() as nursery:  # a child task counts, too
                            nursery.start_soon(research, cortex, topic)
                except* BudgetExceeded as refused:
                    print(f"then: {refused.exceptions[0]}")
            print(f"in all: ${spending.spent:.2f} and {spending.tokens:,} tokens")


if __name__ == "__main__":
    trio.run(main)
