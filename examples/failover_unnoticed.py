"""The first worker fails in the middle of its answer, and failover is invisible to the user.

`complete()` delivers nothing before the answer is complete, so a failure at any moment can be answered by failover.
Runs on simulated providers in memory: no API keys, no network.
"""

import trio

from cortex_trio import open_cortex
from cortex_trio.simulator import Behaviour, open_simulator

ANSWER = "A good failover is invisible."


async def main() -> None:
    async with open_simulator() as simulator:
        simulator.add("openai", Behaviour(text="A good failover", cut_after=2))  # then its stream ends
        simulator.add("anthropic", Behaviour(text=ANSWER))

        async with open_cortex(simulator.config(), http_transport=simulator.transport) as cortex:
            reply = await cortex.complete("Say something about failover.")

    print(f"The user read: {reply.text}")
    print("The attempts:")
    for attempt in reply.attempts:
        outcome = f"failed ({attempt.failure.kind.value})" if attempt.failure else "served"
        print(f"  {attempt.number}. {attempt.worker} {outcome}")


if __name__ == "__main__":
    trio.run(main)
