"""S01 to S16 and S31 to S34 for every OpenAI-compatible gateway with an HTTP endpoint, in real time.

Two simulated providers listen on ports of this machine. The gateway under test has the first as its primary and the
second as its fallback. Only two things can be checked: what its client gets, and which requests the providers receive.
The rules are those of FailoverBench: an answer must be whole, or an error must say that it is not; no provider gets a
request before its Retry-After has passed; nothing is tried that cannot help. "One worker" in a scenario means that the
other provider refuses connections. `second` is the length of a second, for tests of the exam itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import httpx
import trio

from ...simulator.behaviour import Behaviour
from ...simulator.provider import SimulatedProvider
from ...simulator.request import SimRequest
from .setup import GOOD, RESCUE, SIXTY

PRIMARY_MODEL, FALLBACK_MODEL = "primary-model", "fallback-model"
SLACK_SECONDS = 5.0
"""What a gateway may take beside its timeout."""
LEAST_SLACK_SECONDS = 1.0
"""The least slack, however short a second is: a machine may be busy."""
RECOVERY_SECONDS = 120.0
"""How long a gateway may send no request to a primary that works again."""


@attrs.frozen
class Received:
    """What the client of the gateway received. `error` is None if no error was reported."""

    status: int
    text: str
    garbled: bool  # an event was no JSON
    model: str | None
    error: str | None
    seconds: float

    @property
    def is_success(self) -> bool:
        """Whether no error was reported. Usual clients take it for a whole answer, even without a finish reason."""
        return self.status == 200 and self.error is None

    @property
    def is_whole(self) -> bool:
        return self.is_success and self.text in (GOOD.text, RESCUE.text, SIXTY)


@attrs.define
class OutsideSetup:
    """A gateway at `base_url`, its two providers, and the timeout in seconds that it is configured with."""

    base_url: str
    primary: SimulatedProvider
    fallback: SimulatedProvider
    model: str = PRIMARY_MODEL
    api_key: str = "sk-exam"
    timeout: float = 30.0
    second: float = 1.0

    @property
    def most_seconds(self) -> float:
        """How long an answer may take if the gateway waits for its timeout once."""
        return self.timeout + max(SLACK_SECONDS * self.second, LEAST_SLACK_SECONDS)

    def begin(self, *script: Behaviour | Callable[[SimRequest], Behaviour]) -> None:
        """Begin a scenario: the primary gets `script`, the fallback works, both have lists of models."""
        for provider in (self.primary, self.fallback):
            provider.requests.clear()
            provider.behave_health()
        self.primary.behave(*script)
        self.fallback.behave(RESCUE)
        self.fallback.prefill = None

    async def recover(self) -> None:
        """Let the primary work until the gateway uses it again, or RECOVERY_SECONDS are over.

        An open breaker or a cooldown of one scenario must not change the result of the next.
        """
        self.begin(GOOD)
        with trio.move_on_after(RECOVERY_SECONDS * self.second):
            while not self.primary.requests:
                await self.request()
                await trio.sleep(self.second)

    async def request(self) -> Received:
        """Request a stream, and read it as a careful client does."""
        start = trio.current_time()
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        headers = {"authorization": f"Bearer {self.api_key}"}
        parser = _Parser()
        async with httpx.AsyncClient(timeout=None, trust_env=False) as client:
            try:
                url = f"{self.base_url.rstrip('/')}/chat/completions"
                async with client.stream("POST", url, json=body, headers=headers) as response:
                    parser.status = response.status_code
                    parser.read_headers(response.headers)
                    async for data in response.aiter_bytes():
                        parser.feed(data)
            except httpx.HTTPError as error:
                parser.error = f"{type(error).__name__}: {error}"
        return parser.received(trio.current_time() - start)

    async def wait_until_up(self) -> None:
        """Return as soon as a server responds at `base_url`."""
        async with httpx.AsyncClient(timeout=None, trust_env=False) as client:
            while True:
                try:
                    await client.get(f"{self.base_url.rstrip('/')}/models")
                    return
                except httpx.HTTPError:
                    await trio.sleep(0.2)


@attrs.define
class _Parser:
    """Parses a stream of chat completions."""

    status: int = 0
    text: str = ""
    garbled: bool = False
    model: str | None = None
    error: str | None = None
    _streamed: bool = True
    _buffer: bytes = b""

    def read_headers(self, headers: httpx.Headers) -> None:
        self._streamed = "event-stream" in headers.get("content-type", "")

    def feed(self, data: bytes) -> None:
        self._buffer += data
        if self._streamed:
            *lines, self._buffer = self._buffer.split(b"\n")
            for line in lines:
                self._line(line.strip())

    def received(self, seconds: float) -> Received:
        if not self._streamed and self.error is None:
            self._event(self._buffer, "message")
        if self.status != 200 and self.error is None:
            self.error = f"HTTP {self.status}"
        return Received(self.status, self.text, self.garbled, self.model, self.error, seconds)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"event: error"):
            self.error = "an error event"
        if line.startswith(b"data:") and line != b"data: [DONE]":
            self._event(line.removeprefix(b"data:"), "delta")

    def _event(self, data: bytes, part: str) -> None:
        try:
            event: Any = json.loads(data)
        except ValueError:
            self.garbled = True
            return
        if event.get("error"):
            self.error = f"{event['error']}"[:200]
        self.model = event.get("model") or self.model
        for choice in event.get("choices") or ():
            self.text += (choice.get(part) or {}).get("content") or ""
