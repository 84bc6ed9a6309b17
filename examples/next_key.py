"""A key is over its limit: the next key of the same provider serves, and the limited one cools down.

The first key is asked once. Until its Retry-After is over no request is wasted on it.
Runs on simulated providers in memory: no keys, no network.
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
