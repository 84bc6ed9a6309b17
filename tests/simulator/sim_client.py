"""A plain HTTP client for simulated providers: httpcore's own pool, which knows nothing of the gateway."""

import json
from typing import Any

import httpcore

from cortex_trio.simulator import SimulatedProvider, Simulator

KEY = "sk-sim-test-0001"


def headers(key: str | None = KEY) -> list[tuple[str, str]]:
    kinds = ("authorization", "x-api-key", "x-goog-api-key")
    headers = [(kind, f"Bearer {key}" if kind == "authorization" else key) for kind in kinds] if key else []
    return [*headers, ("content-type", "application/json"), ("anthropic-version", "2023-06-01")]


def body(**changes: Any) -> bytes:
    """A legal chat completions request; a change to None leaves the field out."""
    plain = {"model": "m-1", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    return json.dumps(
        {name: value for name, value in {**plain, **changes}.items() if value is not None}
    ).encode()


class Answer:
    def __init__(self, response: httpcore.Response) -> None:
        self.status = response.status
        self.headers = {name.decode(): value.decode() for name, value in response.headers}
        self.body = response.content

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def chunks(self) -> list[Any]:
        """The JSON of every `data:` line."""
        lines = [line.removeprefix("data: ") for line in self.body.decode().splitlines()]
        return [json.loads(line) for line in lines if line.startswith("{")]

    @property
    def text(self) -> str:
        """The text of a chat completions stream."""
        return "".join(
            choice["delta"].get("content") or "" for chunk in self.chunks for choice in chunk["choices"]
        )


class Client:
    """What a test needs of a client: httpcore's own pool, on the simulator's network or on the real one."""

    def __init__(self, simulator: Simulator) -> None:
        self.pool = httpcore.AsyncConnectionPool(network_backend=simulator.network)
        self.received = bytearray()

    def stream(self, provider: SimulatedProvider, path: str = "/chat/completions", **changes: Any) -> Any:
        return self.pool.stream("POST", provider.url + path, headers=headers(), content=body(**changes))

    async def post(
        self, provider: SimulatedProvider, path: str = "/chat/completions", **changes: Any
    ) -> Answer:
        async with self.stream(provider, path, **changes) as response:
            await response.aread()
            return Answer(response)

    async def read(
        self, provider: SimulatedProvider, path: str = "/chat/completions", **changes: Any
    ) -> bytes:
        """The body as it comes, appended to `received`, until it ends or breaks."""
        self.received = bytearray()
        async with self.stream(provider, path, **changes) as response:
            async for data in response.aiter_stream():
                self.received += data
        return bytes(self.received)

    async def get(self, provider: SimulatedProvider, path: str) -> Answer:
        return Answer(await self.pool.request("GET", provider.url + path, headers=headers()))
