"""Which text is most like a question: embeddings of a long list, with a failover in the middle.

The vectors come from workers with the same model only. Runs on simulated providers in memory: no API keys, no network.
"""

import math
from collections.abc import Sequence

import trio

from cortex_trio import FailureKind, open_cortex
from cortex_trio.simulator import Behaviour, open_simulator

TEXTS = ("how to brew coffee", "what a supervisor restarts", "where otters sleep", "why tea is green")


def likeness(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors."""
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / (math.hypot(*first) * math.hypot(*second))


async def main() -> None:
    async with open_simulator() as simulator:
        once = [Behaviour(), Behaviour(error=FailureKind.OVERLOADED)]  # the second request fails
        simulator.add("first", *once, provider="openai")
        simulator.add("second", provider="openai")
        config = simulator.config(embed_batch=2)  # two texts in one request
        async with open_cortex(config, http_transport=simulator.transport) as cortex:
            vectors = await cortex.embed(TEXTS)
            [question] = await cortex.embed("what a supervisor restarts")

    asked = ", ".join(f"{one.worker} {'failed' if one.failure else 'served'}" for one in vectors.attempts)
    print(f"{len(vectors)} vectors of {vectors.model}: {asked}")
    print(f"{vectors.usage.input_tokens} tokens, the last ones counted by {vectors.worker}")
    best = max(range(len(TEXTS)), key=lambda number: likeness(question, vectors[number]))
    print(f"most alike: {TEXTS[best]}")


if __name__ == "__main__":
    trio.run(main)
