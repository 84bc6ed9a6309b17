"""S01 to S16 and S31 to S34 for every OpenAI-compatible gateway with an HTTP endpoint, in real time.

Two simulated providers listen on ports of this machine. The gateway under test has the first as its primary and the
second as its fallback. Only two things can be checked: what its client gets, and which requests the providers receive.
The rules are those of FailoverBench: an answer must be whole, or an error must say that it is not; no provider gets a
request before its Retry-After has passed; nothing is tried that cannot help. "One worker" in a scenario means that the
other provider refuses connections. `second` is the length of a second, for tests of the exam itself.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import httpx
import trio

from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from ...simulator.provider import SimulatedProvider
from ...simulator.speak.speaker import SimRequest
from .setup import GOOD, RESCUE, SIXTY, NotPassed, check, equal, hint

PRIMARY_MODEL, FALLBACK_MODEL = "primary-model", "fallback-model"
SLACK_SECONDS = 5.0
"""What a gateway may take beside its timeout."""
LEAST_SLACK_SECONDS = 1.0
"""The least slack, however short a second is: a machine may be busy."""
MOST_SECONDS = 180.0
"""The limit of one scenario."""
RECOVERY_SECONDS = 120.0
"""How long a gateway may send no request to a primary that works again."""
RETRIES = 2
CALLERS = 10
CHECKED_SECONDS = 60.0
"""How long S33 gives a gateway for its own health checks before each request."""
SERVED_AGAIN_SECONDS = 85.0
"""How soon S34 expects an answer again. It waits twice, within MOST_SECONDS."""


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


# ------------------------------------------------------------------ the scenarios


@attrs.frozen
class OutsideScenario:
    number: str
    fault: str
    play: Callable[[OutsideSetup], Awaitable[None]]


async def _waits_for_the_hint(setup: OutsideSetup) -> None:
    wait = 2 * setup.second
    setup.begin(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=wait), GOOD)
    check((await setup.request()).is_whole, "it is served")
    asked = [request.when for request in setup.primary.requests]
    check(
        all(b - a >= wait for a, b in itertools.pairwise(asked)),
        "no request comes before the hint has passed",
    )


async def _rate_limited(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=60 * setup.second))
    equal((await setup.request()).text, RESCUE.text, "the answer")


async def _one_server_error(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(error=FailureKind.SERVER), GOOD)
    check((await setup.request()).is_whole, "it is served")
    check(len(setup.primary.requests) <= 2, "at most one retry")


async def _overloaded(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(status=503))
    for _ in range(5):
        equal((await setup.request()).text, RESCUE.text, "the answer")
    check(len(setup.primary.requests) <= 5 * (1 + RETRIES), "the attempts at the primary are bounded")


async def _reset(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(refuse=True))
    equal((await setup.request()).text, RESCUE.text, "the answer")


async def _silent(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(silent=True))
    received = await setup.request()
    equal(received.text, RESCUE.text, "the answer")
    check(received.seconds <= setup.most_seconds, f"within the timeout, not after {received.seconds:.1f} s")
    equal(len(setup.primary.requests), 1, "requests to the silent provider")


async def _late(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(text=GOOD.text, first_token_after=20 * setup.second))
    received = await setup.request()
    check(received.is_whole, f"it is served ({received.error})")
    check(received.seconds <= setup.most_seconds, f"within the timeout, not after {received.seconds:.1f} s")


def _broken_after_40(behaviour: Behaviour) -> Callable[[OutsideSetup], Awaitable[None]]:
    async def play(setup: OutsideSetup) -> None:
        scaled = attrs.evolve(behaviour, stall_for=behaviour.stall_for * setup.second)
        setup.begin(attrs.evolve(scaled, text=SIXTY))
        _check_whole_or_error(await setup.request())

    return play


def _check_whole_or_error(received: Received) -> None:
    """The answer is whole, or an error says that it is not."""
    check(not received.garbled, "no malformed chunk is forwarded")
    check(
        received.is_whole or received.error is not None,
        f"a broken answer does not end like a whole one (…{received.text[-40:]!r})",
    )


async def _no_done(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(text=SIXTY, no_terminal=True))
    received = await setup.request()
    check(received.is_success, f"it is accepted as complete ({received.error})")
    equal(received.text, SIXTY, "the answer")


async def _too_long(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(error=FailureKind.CONTEXT_LENGTH))
    received = await setup.request()
    equal(len(setup.primary.requests), 1, "requests to the primary")
    check(
        received.is_whole or 400 <= received.status < 500,
        f"an error of the request or an answer, not {received.status}",
    )


async def _policy(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(error=FailureKind.CONTENT_POLICY))
    received = await setup.request()
    check(not received.is_success, "an error is reported")
    equal((len(setup.primary.requests), len(setup.fallback.requests)), (1, 0), "requests")


async def _no_prefix(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(text=SIXTY, cut_after=40))
    setup.fallback.prefill = False
    received = await setup.request()
    check(
        received.is_whole or received.error is not None,
        f"a broken answer ends like a whole one: {received.text[-60:]!r}",
    )


async def _flapping(setup: OutsideSetup) -> None:
    start = trio.current_time()

    def flap(request: SimRequest) -> Behaviour:
        return Behaviour(status=503) if (request.when - start) / setup.second % 10 < 8 else GOOD

    setup.begin(flap)
    for number in range(1, 21):
        check((await setup.request()).is_whole, f"request {number} is served")
        await trio.sleep_until(start + 3 * number * setup.second)
    check(len(setup.primary.requests) <= 20 * (1 + RETRIES), "the attempts at the primary are bounded")


async def _names_the_model(setup: OutsideSetup) -> None:
    setup.begin(Behaviour(status=503))
    received = await setup.request()
    equal((received.text, received.model), (RESCUE.text, FALLBACK_MODEL), "the answer and the model it names")


async def _limited_for_a_second(setup: OutsideSetup) -> None:
    limits: dict[str, float] = {}

    def limit(provider: SimulatedProvider) -> Callable[[SimRequest], Behaviour]:
        def answer(request: SimRequest) -> Behaviour:
            left = limits.setdefault(provider.name, request.when + setup.second) - request.when
            return Behaviour(error=FailureKind.RATE_LIMIT, retry_after=hint(left)) if left > 0 else GOOD

        return answer

    setup.begin(limit(setup.primary))
    setup.fallback.behave(limit(setup.fallback))
    received: list[Received] = []

    async def ask() -> None:
        received.append(await setup.request())

    async with trio.open_nursery() as nursery:
        for _ in range(CALLERS):
            nursery.start_soon(ask)
    whole = sum(one.is_whole for one in received)
    equal(whole, CALLERS, "callers that are served")
    for provider in (setup.primary, setup.fallback):
        early = sum(request.when < limits.get(provider.name, 0.0) for request in provider.requests)
        check(
            early <= CALLERS, f"no caller asks {provider.name} twice before its limit ends ({early} requests)"
        )


async def _twice(setup: OutsideSetup) -> None:
    for fault in (Behaviour(refuse=True), Behaviour(cut_at="request"), Behaviour(status=500)):
        await setup.recover()
        setup.begin(fault, fault, GOOD)
        setup.fallback.behave(Behaviour(refuse=True))
        received = await setup.request()
        check(received.is_whole, f"it is served ({received.error})")


async def _without_model_list(setup: OutsideSetup) -> None:
    lists = (Behaviour(status=404), Behaviour(status=405), Behaviour(status=500), Behaviour(html=True))
    for listing in (*lists, Behaviour(silent=True)):
        setup.begin(GOOD)
        for provider in (setup.primary, setup.fallback):
            provider.behave_health(listing)
        await trio.sleep(CHECKED_SECONDS / (len(lists) + 1) * setup.second)
        received = await setup.request()
        check(received.is_whole, f"it is served ({received.error})")


async def _refused_once(setup: OutsideSetup) -> None:
    for kind in (FailureKind.MODEL_NOT_FOUND, FailureKind.CREDENTIAL):
        start = trio.current_time()
        setup.begin(Behaviour(error=kind), GOOD)
        setup.fallback.behave(Behaviour(error=kind), GOOD)
        while not (received := await setup.request()).is_whole:
            took = trio.current_time() - start
            check(
                took < SERVED_AGAIN_SECONDS * setup.second, f"it is served within minutes ({received.error})"
            )
            await trio.sleep(5 * setup.second)


OUTSIDE: Sequence[OutsideScenario] = (
    OutsideScenario("S01", "429 with Retry-After 2 s, then fine", _waits_for_the_hint),
    OutsideScenario("S02", "429 always", _rate_limited),
    OutsideScenario("S03", "one 500, then fine", _one_server_error),
    OutsideScenario("S04", "503 always", _overloaded),
    OutsideScenario("S05", "TCP reset", _reset),
    OutsideScenario("S06", "accepts, then silent", _silent),
    OutsideScenario("S07", "first token after 20 s", _late),
    OutsideScenario("S08", "cut after 40 of 60 tokens", _broken_after_40(Behaviour(cut_after=40))),
    OutsideScenario(
        "S09", "stalls 30 s mid-stream", _broken_after_40(Behaviour(stall_after=40, stall_for=30))
    ),
    OutsideScenario("S10", "malformed chunk", _broken_after_40(Behaviour(garble_after=40))),
    OutsideScenario("S11", "no [DONE] after the finish reason", _no_done),
    OutsideScenario("S12", "400 context_length", _too_long),
    OutsideScenario("S13", "content policy refusal", _policy),
    OutsideScenario("S14", "cut, and the fallback rejects a prefix", _no_prefix),
    OutsideScenario("S15", "flaps for 60 s, 20 requests", _flapping),
    OutsideScenario("S16", "the fallback serves", _names_the_model),
    OutsideScenario("S31", "both limited for 1 s, ten callers", _limited_for_a_second),
    OutsideScenario("S32", "one is refused, the other fails twice", _twice),
    OutsideScenario("S33", "no list of models", _without_model_list),
    OutsideScenario("S34", "one 404 or 401, then fine", _refused_once),
)


async def run_outside(scenario: OutsideScenario, setup: OutsideSetup) -> str | None:
    """Run one scenario. Returns what does not hold, None if it is passed."""
    await setup.recover()
    try:
        with trio.fail_after(MOST_SECONDS * setup.second):
            await scenario.play(setup)
    except NotPassed as error:
        return str(error)
    except trio.TooSlowError:
        return f"not finished within {MOST_SECONDS * setup.second:g} s"
    return None
