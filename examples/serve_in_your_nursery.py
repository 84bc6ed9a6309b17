"""Your program serves its own gateway: any client of OpenAI's API gets failover from it.

The providers are simulated, and the client is a few lines of httpx: no API keys, no network.
Run it: python examples/serve_in_your_nursery.py
"""

import json
import logging

import httpx
import trio

from cortex_trio import open_cortex
from cortex_trio.server import open_server
from cortex_trio.simulator import Behaviour, open_simulator

QUESTION = {"model": "auto", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}


async def ask(url: str, key: str) -> None:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
        async with client.stream("POST", "/v1/chat/completions", json=QUESTION) as response:
            lines = [line async for line in response.aiter_lines() if line.startswith("data: {")]
    print("status:  ", response.status_code)
    print("worker:  ", response.headers.get("x-cortex-worker"))
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    print("answer:  ", "".join(texts))


async def main() -> None:
    logging.getLogger("cortex_trio").setLevel(logging.ERROR)
    async with open_simulator() as simulator:
        simulator.add("openai", Behaviour(status=503))
        simulator.add("anthropic", Behaviour(text="Hello from the other provider."))
        async with (
            open_cortex(simulator.config(), http_transport=simulator.transport) as cortex,
            open_server(cortex, keys=["sk-of-a-client"]) as server,
        ):
            await ask(server.url, "sk-of-a-client")


if __name__ == "__main__":
    trio.run(main)
