"""Ask the providers that are configured in the environment; the same program for real and for simulated providers.

python -m cortex_trio.simulator python examples/quickstart.py     with simulated ones
OPENAI_API_KEY=…  python examples/quickstart.py                    with real ones
"""

import trio

from cortex_trio import open_cortex


async def main() -> None:
    async with open_cortex() as cortex:
        async with cortex.chat("Say hello in one sentence.") as answer:
            async for piece in answer.text():
                print(piece, end="", flush=True)
        print(f"\n{answer.worker} answered with {answer.model}: {answer.usage.total_tokens} tokens.")


if __name__ == "__main__":
    trio.run(main)
