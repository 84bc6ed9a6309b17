"""The primary fails in the middle of its answer, and the user notices nothing.

`complete()` hands out nothing before the answer is whole, so whatever breaks on the way can still be mended.
Runs on simulated providers in memory: no keys, no network.
"""

import trio

from cortex_trio import open_cortex
from cortex_trio.simulator import Behaviour, open_simulator

ANSWER = "Nobody notices a good failover."


async def main() -> None:
    async with open_simulator() as simulator:
        simulator.add("openai", Behaviour(text="Nobody notices a", cut_after=2))  # then its stream just ends
        simulator.add("anthropic", Behaviour(text=ANSWER))

        async with open_cortex(simulator.config(), http_transport=simulator.transport) as cortex:
            reply = await cortex.complete("Say something about failover.")

    print(f"The user read: {reply.text}")
    print("What happened behind it:")
    for attempt in reply.attempts:
        outcome = f"failed ({attempt.failure.kind.value})" if attempt.failure else "served"
        print(f"  {attempt.number}. {attempt.worker} {outcome}")


if __name__ == "__main__":
    trio.run(main)
