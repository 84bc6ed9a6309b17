"""An API key is over its limit: the next API key of the same worker serves, and the first one cools down.

The first API key is used once. It gets no request until its retry-after has passed.
Runs on simulated providers in memory: no API keys, no network.
"""

import trio

from cortex_trio import open_cortex
from cortex_trio.simulator import Behaviour, open_simulator

KEYS = ["sk-simulated-first", "sk-simulated-other"]


async def main() -> None:
    async with open_simulator() as simulator:
        openai = simulator.add("openai")
        openai.limit_key(KEYS[0], Behaviour(status=429, retry_after=60))
        config = simulator.config(api_keys=KEYS)

        async with open_cortex(config, http_transport=simulator.transport) as cortex:
            for number in range(1, 4):
                reply = await cortex.complete("Hello?")
                tried = ", then ".join(
                    f"{attempt.key} {'was limited' if attempt.failure else 'served'}"
                    for attempt in reply.attempts
                )
                print(f"request {number}: {tried}")
            print(f"openai is {(await cortex.list_workers())[0].status}")

    print(f"the limited key was asked {sum(r.key == KEYS[0] for r in openai.requests)} time")


if __name__ == "__main__":
    trio.run(main)
