"""A provider of your own is one value: an address, the header of the API key, a dialect and some numbers.

Here it is a server in your company that uses the chat completions dialect, expects its API key in a header of its own
and has an older name for `max_tokens`. Runs on a simulated server in memory: no API keys, no network.
"""

import trio

from cortex_trio import Auth, Config, Provider, WorkerConfig, open_cortex
from cortex_trio.simulator import open_simulator
from cortex_trio.wire.chat_completions.dialect import ChatCompletions
from cortex_trio.wire.codec import HttpRequest

IN_HOUSE = Provider(
    name="in_house",
    base_url="https://models.example.com/v1",
    dialect=ChatCompletions(max_tokens_field="max_tokens", embeddings=True),
    auth=Auth("x-department-key", ""),
    priority=0,  # asked before all others
    timeout=20.0,  # seconds to the first token
    health=HttpRequest("GET", "/models"),
    models=HttpRequest("GET", "/models"),
    default_models=("own-large", "own-small"),
    context_windows={"own-": 32_000},
)


async def main() -> None:
    async with open_simulator() as simulator:
        server = simulator.add("server", provider="openai_compatible", models=["own-large", "own-small"])
        ours = WorkerConfig(provider=IN_HOUSE, api_keys=("hs-0123456789",), base_url=server.url)

        async with open_cortex(Config(workers={"ours": ours}), http_transport=simulator.transport) as cortex:
            reply = await cortex.complete("Who are you?", max_tokens=50)
            print(f"{reply.provider} answers with {reply.model}: {reply.text}")
            print("it serves", ", ".join(await cortex.models(worker="ours")))
            print("its key was shown as", server.requests[0].headers["x-department-key"][:3] + "…")


if __name__ == "__main__":
    trio.run(main)
