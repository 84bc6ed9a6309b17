"""S01 to S16 and S31 to S34 for any OpenAI-compatible gateway that is reached over HTTP, in real time.

Two simulated upstreams listen on ports of this machine. The gateway under exam has the first as its primary and
the second as its fallback; what can be seen from outside is what its client gets and what the upstreams were
asked. The rules are FailoverBench's: an answer must be whole, or say that it is not; no upstream is asked earlier
than its hint says; what cannot help is not tried. A foreign gateway has two upstreams, so that "one worker" means
here that the other one is refused. `second` scales every time, for trying out the exam itself.
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
from ...simulator.request import SimRequest
from .stage import GOOD, RESCUE, SIXTY, NotPassed, check, equal, hint

PRIMARY_MODEL, FALLBACK_MODEL = "primary-model", "fallback-model"
SLACK_SECONDS = 5.0
"""What a gateway may take beside the time it was told to wait."""
LEAST_SLACK_SECONDS = 1.0
"""However short a second is: what a machine may be busy with something else."""
MOST_SECONDS = 180.0
"""After this long it has hung itself up."""
RECOVERY_SECONDS = 120.0
"""So long a gateway may leave a primary alone that is well again."""
RETRIES = 2
CALLERS = 10
CHECKED_SECONDS = 60.0
"""So long S33 gives a gateway for checks of its own before each request."""
AGAIN_SECONDS = 85.0
"""How soon S34 wants an answer again: two such waits are as long as a play may take."""


@attrs.frozen
class Got:
    """What the client of the gateway got. `error` is what said that something is wrong, if anything did."""

    status: int
    text: str
    garbled: bool  # something came that is no JSON
    model: str | None
    error: str | None
    seconds: float

    @property
    def is_success(self) -> bool:
        """No error came: to the usual clients it is a whole answer, even if its finish reason is missing."""
        return self.status == 200 and self.error is None

    @property
    def is_whole(self) -> bool:
        return self.is_success and self.text in (GOOD.text, RESCUE.text, SIXTY)


@attrs.define
class OutsideStage:
    """A gateway at `base_url`, its two upstreams, and the time-out in seconds it was configured with."""

    base_url: str
    primary: SimulatedProvider
    fallback: SimulatedProvider
    model: str = PRIMARY_MODEL
    api_key: str = "sk-exam"
    timeout: float = 30.0
    second: float = 1.0

    @property
    def most_seconds(self) -> float:
        """How long an answer may take that waits for the time-out once."""
        return self.timeout + max(SLACK_SECONDS * self.second, LEAST_SLACK_SECONDS)

    def begin(self, *script: Behaviour | Callable[[SimRequest], Behaviour]) -> None:
        """Forget what was before; the primary plays `script`, the fallback is well, both have lists of models."""
        for provider in (self.primary, self.fallback):
            provider.requests.clear()
            provider.behave_health()
        self.primary.behave(*script)
        self.fallback.behave(RESCUE)
        self.fallback.prefill = None

    async def recover(self) -> None:
        """Have the primary well until the gateway asks it again, for as long as that may take.

        What it remembers of one scenario (an open breaker, a key that is cooling down) must not decide the next.
        """
        self.begin(GOOD)
        with trio.move_on_after(RECOVERY_SECONDS * self.second):
            while not self.primary.requests:
                await self.ask()
                await trio.sleep(self.second)

    async def ask(self) -> Got:
        """Ask for a stream, and read it as a client does that wants to know whether it is whole."""
        start = trio.current_time()
        body = {"model": self.model, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
        headers = {"authorization": f"Bearer {self.api_key}"}
        heard = _Heard()
        async with httpx.AsyncClient(timeout=None, trust_env=False) as client:
            try:
                url = f"{self.base_url.rstrip('/')}/chat/completions"
                async with client.stream("POST", url, json=body, headers=headers) as response:
                    heard.status = response.status_code
                    heard.read_headers(response.headers)
                    async for data in response.aiter_bytes():
                        heard.feed(data)
            except httpx.HTTPError as error:
                heard.error = f"{type(error).__name__}: {error}"
        return heard.got(trio.current_time() - start)

    async def wait_until_up(self) -> None:
        """Return as soon as anything at `base_url` answers HTTP."""
        async with httpx.AsyncClient(timeout=None, trust_env=False) as client:
            while True:
                try:
                    await client.get(f"{self.base_url.rstrip('/')}/models")
                    return
                except httpx.HTTPError:
                    await trio.sleep(0.2)


@attrs.define
class _Heard:
    """A stream of chat completions as it comes, and what it says of itself."""

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

    def got(self, seconds: float) -> Got:
        if not self._streamed and self.error is None:
            self._event(self._buffer, "message")
        if self.status != 200 and self.error is None:
            self.error = f"HTTP {self.status}"
        return Got(self.status, self.text, self.garbled, self.model, self.error, seconds)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"event: error"):
            self.error = "an event called error"
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
    misfortune: str
    play: Callable[[OutsideStage], Awaitable[None]]


async def _waits_as_told(stage: OutsideStage) -> None:
    wait = 2 * stage.second
    stage.begin(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=wait), GOOD)
    check((await stage.ask()).is_whole, "it is served")
    asked = [request.when for request in stage.primary.requests]
    check(all(b - a >= wait for a, b in itertools.pairwise(asked)), "it is never asked earlier than told")


async def _rate_limited(stage: OutsideStage) -> None:
    stage.begin(Behaviour(error=FailureKind.RATE_LIMIT, retry_after=60 * stage.second))
    equal((await stage.ask()).text, RESCUE.text, "the answer")


async def _one_server_error(stage: OutsideStage) -> None:
    stage.begin(Behaviour(error=FailureKind.SERVER), GOOD)
    check((await stage.ask()).is_whole, "it is served")
    check(len(stage.primary.requests) <= 2, "at most one retry")


async def _overloaded(stage: OutsideStage) -> None:
    stage.begin(Behaviour(status=503))
    for _ in range(5):
        equal((await stage.ask()).text, RESCUE.text, "the answer")
    check(len(stage.primary.requests) <= 5 * (1 + RETRIES), "the attempts at the primary are bounded")


async def _reset(stage: OutsideStage) -> None:
    stage.begin(Behaviour(refuse=True))
    equal((await stage.ask()).text, RESCUE.text, "the answer")


async def _silent(stage: OutsideStage) -> None:
    stage.begin(Behaviour(silent=True))
    got = await stage.ask()
    equal(got.text, RESCUE.text, "the answer")
    check(got.seconds <= stage.most_seconds, f"within the time-out, not {got.seconds:.1f} s")
    equal(len(stage.primary.requests), 1, "requests to the silent one")


async def _late(stage: OutsideStage) -> None:
    stage.begin(Behaviour(text=GOOD.text, first_token_after=20 * stage.second))
    got = await stage.ask()
    check(got.is_whole, f"it is served ({got.error})")
    check(got.seconds <= stage.most_seconds, f"within the time-out, not {got.seconds:.1f} s")


def _broken_after_40(behaviour: Behaviour) -> Callable[[OutsideStage], Awaitable[None]]:
    async def play(stage: OutsideStage) -> None:
        scaled = attrs.evolve(behaviour, stall_for=behaviour.stall_for * stage.second)
        stage.begin(attrs.evolve(scaled, text=SIXTY))
        _check_honest(await stage.ask())

    return play


def _check_honest(got: Got) -> None:
    """It is whole, or says that it is not."""
    check(not got.garbled, "a malformed chunk is not handed on")
    check(
        got.is_whole or got.error is not None,
        f"a broken answer is not passed off as whole (…{got.text[-40:]!r})",
    )


async def _no_done(stage: OutsideStage) -> None:
    stage.begin(Behaviour(text=SIXTY, no_terminal=True))
    got = await stage.ask()
    check(got.is_success, f"it is accepted as complete ({got.error})")
    equal(got.text, SIXTY, "the answer")


async def _too_long(stage: OutsideStage) -> None:
    stage.begin(Behaviour(error=FailureKind.CONTEXT_LENGTH))
    got = await stage.ask()
    equal(len(stage.primary.requests), 1, "requests to the primary")
    check(got.is_whole or 400 <= got.status < 500, f"the refusal or an answer, not {got.status}")


async def _policy(stage: OutsideStage) -> None:
    stage.begin(Behaviour(error=FailureKind.CONTENT_POLICY))
    got = await stage.ask()
    check(not got.is_success, "the refusal is told")
    equal((len(stage.primary.requests), len(stage.fallback.requests)), (1, 0), "requests")


async def _no_prefix(stage: OutsideStage) -> None:
    stage.begin(Behaviour(text=SIXTY, cut_after=40))
    stage.fallback.prefill = False
    got = await stage.ask()
    check(
        got.is_whole or got.error is not None, f"a broken answer is passed off as whole: {got.text[-60:]!r}"
    )


async def _flapping(stage: OutsideStage) -> None:
    start = trio.current_time()

    def flap(request: SimRequest) -> Behaviour:
        return Behaviour(status=503) if (request.when - start) / stage.second % 10 < 8 else GOOD

    stage.begin(flap)
    for number in range(1, 21):
        check((await stage.ask()).is_whole, f"request {number} is served")
        await trio.sleep_until(start + 3 * number * stage.second)
    check(len(stage.primary.requests) <= 20 * (1 + RETRIES), "the attempts at the primary are bounded")


async def _names_the_model(stage: OutsideStage) -> None:
    stage.begin(Behaviour(status=503))
    got = await stage.ask()
    equal((got.text, got.model), (RESCUE.text, FALLBACK_MODEL), "the answer and the model it names")


async def _limited_for_a_second(stage: OutsideStage) -> None:
    limits: dict[str, float] = {}

    def limit(provider: SimulatedProvider) -> Callable[[SimRequest], Behaviour]:
        def answer(request: SimRequest) -> Behaviour:
            left = limits.setdefault(provider.name, request.when + stage.second) - request.when
            return Behaviour(error=FailureKind.RATE_LIMIT, retry_after=hint(left)) if left > 0 else GOOD

        return answer

    stage.begin(limit(stage.primary))
    stage.fallback.behave(limit(stage.fallback))
    got: list[Got] = []

    async def ask() -> None:
        got.append(await stage.ask())

    async with trio.open_nursery() as nursery:
        for _ in range(CALLERS):
            nursery.start_soon(ask)
    whole = sum(one.is_whole for one in got)
    equal(whole, CALLERS, "callers that are served")
    for provider in (stage.primary, stage.fallback):
        early = sum(request.when < limits.get(provider.name, 0.0) for request in provider.requests)
        check(
            early <= CALLERS, f"no caller asks {provider.name} twice before its limit ends ({early} requests)"
        )


async def _twice(stage: OutsideStage) -> None:
    for trouble in (Behaviour(refuse=True), Behaviour(cut_at="request"), Behaviour(status=500)):
        await stage.recover()
        stage.begin(trouble, trouble, GOOD)
        stage.fallback.behave(Behaviour(refuse=True))
        got = await stage.ask()
        check(got.is_whole, f"it is served ({got.error})")


async def _no_list(stage: OutsideStage) -> None:
    lists = (Behaviour(status=404), Behaviour(status=405), Behaviour(status=500), Behaviour(html=True))
    for listing in (*lists, Behaviour(silent=True)):
        stage.begin(GOOD)
        for provider in (stage.primary, stage.fallback):
            provider.behave_health(listing)
        await trio.sleep(CHECKED_SECONDS / (len(lists) + 1) * stage.second)
        got = await stage.ask()
        check(got.is_whole, f"it is served ({got.error})")


async def _refused_once(stage: OutsideStage) -> None:
    for kind in (FailureKind.MODEL_NOT_FOUND, FailureKind.CREDENTIAL):
        start = trio.current_time()
        stage.begin(Behaviour(error=kind), GOOD)
        stage.fallback.behave(Behaviour(error=kind), GOOD)
        while not (got := await stage.ask()).is_whole:
            took = trio.current_time() - start
            check(took < AGAIN_SECONDS * stage.second, f"it is served again within minutes ({got.error})")
            await trio.sleep(5 * stage.second)


OUTSIDE: Sequence[OutsideScenario] = (
    OutsideScenario("S01", "429 with Retry-After 2 s, then fine", _waits_as_told),
    OutsideScenario("S02", "429 for ever", _rate_limited),
    OutsideScenario("S03", "one 500, then fine", _one_server_error),
    OutsideScenario("S04", "503 for ever", _overloaded),
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
    OutsideScenario("S33", "no list of models", _no_list),
    OutsideScenario("S34", "one 404 or 401, then fine", _refused_once),
)


async def sit_outside(scenario: OutsideScenario, stage: OutsideStage) -> str | None:
    """Play one scenario; return what does not hold, or None."""
    await stage.recover()
    try:
        with trio.fail_after(MOST_SECONDS * stage.second):
            await scenario.play(stage)
    except NotPassed as error:
        return str(error)
    except trio.TooSlowError:
        return f"no end within {MOST_SECONDS * stage.second:g} s"
    return None
