"""The network fails, and the model on this machine answers.

A refused connection does not count as an attempt, so the local model is used, however many other providers there are.
Runs on simulated providers in memory: no API keys, no network.
"""

import trio

from cortex_trio import open_cortex
from cortex_trio.simulator import Behaviour, open_simulator

REMOTE = ("openai", "anthropic", "groq", "gemini", "xai", "cohere")


async def main() -> None:
    async with open_simulator() as simulator:
        for name in REMOTE:
            simulator.add(name)
        simulator.add("ollama", Behaviour(text="I am still here."))

        async with open_cortex(simulator.config(), http_transport=simulator.transport) as cortex:
            reply = await cortex.complete("Who is there?")
            print(f"with a network:    {reply.worker} answers")

            for name in REMOTE:
                simulator[name].behave(Behaviour(refuse=True))
            reply = await cortex.complete("And now?")
            unreachable = [attempt.worker for attempt in reply.attempts if attempt.failure]
            print(f"without a network: {reply.worker} answers: {reply.text}")
            print(f"unreachable were   {', '.join(unreachable)}")


if __name__ == "__main__":
    trio.run(main)
