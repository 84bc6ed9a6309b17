"""Plays a schedule on a gateway before simulated providers, in virtual time, and writes down what was seen."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import attrs
import trio
import trio.testing
from at_rest import is_at_rest, nobody_is_connected, settle, worker_of
from schedule import STORY, Caller, Schedule, Step, Upstream, behaviour_of, schedule_of
from trio._core import _run as trio_run

from cortex_trio import (
    AllWorkersFailed,
    Attempt,
    Config,
    ConfigError,
    Cortex,
    CortexError,
    ProviderError,
    StreamEvent,
    TextDelta,
    WorkerConfig,
)
from cortex_trio.failures import FailureKind
from cortex_trio.gateway.runtime import Runtime
from cortex_trio.gateway.settings.secrets import mask
from cortex_trio.gateway.startup import open_runtime
from cortex_trio.simulator import Behaviour, SimRequest, Simulator, open_simulator

LAST_CHECK_SECONDS = 40.0
"""After this long the last health check, planned before they were switched off, is over as well."""


@attrs.define
class Called:
    """What one caller saw. `attempts` is None where the call ended before it could be had."""

    caller: Caller
    limit: int  # max_attempts
    started: float = 0.0
    ended: float = 0.0
    events: list[StreamEvent] = attrs.field(factory=list)
    outcome: str = "nothing"  # "whole" | "error" | "left" | "cancelled"
    error: BaseException | None = None
    attempts: Sequence[Attempt] | None = None
    text: str | None = None  # of the reply, where there is one


@attrs.frozen
class Hint:
    """At `at` a provider said to stay away for `seconds`: the key it was asked with, or everybody."""

    worker: str
    key: str | None  # masked
    everybody: bool
    at: float
    seconds: float
    kind: FailureKind

    @property
    def until(self) -> float:
        return self.at + self.seconds


@attrs.frozen
class Sent:
    """One request as it reached a provider; `call` is None for health checks and lists."""

    worker: str
    key: str | None  # masked
    when: float
    call: int | None


@attrs.define
class Seen:
    schedule: Schedule
    calls: list[Called] = attrs.field(factory=list)
    attempts: list[Attempt] = attrs.field(factory=list)
    hints: list[Hint] = attrs.field(factory=list)
    sent: list[Sent] = attrs.field(factory=list)
    heard: set[tuple[float, str, str | None, float]] = attrs.field(factory=set)
    """When a try ended with a hint, the worker and the key it was, and the hint."""
    reloads: dict[str, tuple[float, float]] = attrs.field(factory=dict)
    """By worker: when its last change was asked for, and when that was done. Somewhere between it became another."""
    lifted: list[tuple[float, float]] = attrs.field(factory=list)
    """When a reload or a health check was asked for, and when it was done: it ends cooldowns after a refusal."""
    tree: str = ""
    workers: tuple[str, ...] = ()  # at the end


def play(seed: int) -> Seen:
    """Play the schedule of `seed` from its beginning to its end; the same seed plays the same."""
    schedule = schedule_of(seed)
    seen = Seen(schedule)
    with _reproducible(seed):
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(_play, schedule, seen, clock=clock)
    return seen


@contextmanager
def _reproducible(seed: int) -> Iterator[None]:
    """Trio shuffles the tasks of a batch on purpose; replaying a seed needs the same shuffling (hypothesis does so)."""
    allowed, state, shuffling = (
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING,
        random.getstate(),
        trio_run._r.getstate(),
    )
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True
    random.seed(seed)
    trio_run._r.seed(seed)
    try:
        yield
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING = allowed
        random.setstate(state)
        trio_run._r.setstate(shuffling)


async def _play(schedule: Schedule, seen: Seen) -> None:
    async with open_simulator() as sim:
        scripts = {upstream.name: _Script(upstream, seen) for upstream in schedule.upstreams}
        for upstream in schedule.upstreams:
            provider = sim.add(upstream.name, scripts[upstream.name].answer, provider=upstream.dialect)
            provider.api_keys = upstream.keys
            provider.behave_health(upstream.health)
        workers = {
            upstream.name: _worker(sim, upstream) for upstream in schedule.upstreams[: schedule.present]
        }
        config = Config(workers=workers, **{"health_check_interval": 0, **schedule.config})
        async with open_runtime(config, http_transport=sim.transport, on_event=_recorder(seen)) as runtime:
            cortex = Cortex(runtime)
            runtime.random.seed(schedule.seed)
            async with trio.open_nursery() as nursery:
                for caller in schedule.callers:
                    limit = caller.options.get("max_attempts", schedule.config["max_attempts"])
                    seen.calls.append(called := Called(caller, limit))
                    nursery.start_soon(_call, cortex, called)
                for step in schedule.steps:
                    nursery.start_soon(_Director(sim, cortex, runtime, schedule, scripts, seen).act, step)
            runtime.config = attrs.evolve(runtime.config, health_check_interval=0)
            await trio.sleep(LAST_CHECK_SECONDS)
            seen.tree, seen.workers = cortex.tree(), tuple(info.name for info in await cortex.list_workers())
            assert await is_at_rest(cortex)
        assert await settle(lambda: nobody_is_connected(sim))
        seen.sent = [sent for name in scripts for sent in _sent(sim, name)]


def _recorder(seen: Seen) -> Callable[[object], None]:
    def record(event: object) -> None:
        if isinstance(event, Attempt):
            seen.attempts.append(event)
            if event.failure is not None and event.failure.retry_after is not None:
                seen.heard.add((trio.current_time(), event.worker, event.key, event.failure.retry_after))

    return record


def _worker(sim: Simulator, upstream: Upstream, **settings: Any) -> WorkerConfig:
    return worker_of(sim[upstream.name], **{**upstream.settings, **settings})


# ------------------------------------------------------------------ the providers


class _Script:
    """What a provider says, request by request, and what it asked for by saying it."""

    def __init__(self, upstream: Upstream, seen: Seen) -> None:
        self._upstream = upstream
        self._draw = random.Random(upstream.seed)
        self._seen = seen
        self.limits: dict[str | None, float] = {}  # keys and until when each is limited

    def answer(self, request: SimRequest) -> Behaviour:
        behaviour = self._drawn(request)
        if isinstance(behaviour.retry_after, int | float) and behaviour.error_after is None:
            everybody = behaviour.error in (FailureKind.OVERLOADED, FailureKind.SERVER)
            key, now = mask(request.key) if request.key else None, trio.current_time()
            assert behaviour.error is not None
            self._seen.hints.append(
                Hint(self._upstream.name, key, everybody, now, behaviour.retry_after, behaviour.error)
            )
        return behaviour

    def _drawn(self, request: SimRequest) -> Behaviour:
        if (left := self.limits.get(request.key, 0.0) - trio.current_time()) > 0:
            return Behaviour(error=FailureKind.RATE_LIMIT, retry_after=max(1, round(left)))
        behaviour = behaviour_of(self._draw, self._upstream.faults)
        begun = _begun(request.body)
        if begun and behaviour.text == STORY:  # a good model goes on where it is told to, or repeats itself
            return attrs.evolve(behaviour, text=STORY.removeprefix(begun) or STORY)
        return behaviour


def _begun(body: object) -> str:
    """The beginning of the story, if the request hands one over to be continued."""
    match body:
        case dict():
            return max((_begun(value) for value in body.values()), key=len, default="")
        case list():
            return max((_begun(value) for value in body), key=len, default="")
        case str() if len(body) > 3 and STORY.startswith(body):
            return body
    return ""


def _sent(sim: Simulator, name: str) -> Iterator[Sent]:
    """The provider's log, without what the transport itself sent again over a new connection.

    Such a request comes in the same moment, with the same key, for the same call, right after one over a
    connection that had been used before.
    """
    used: set[int] = set()
    repeatable: set[tuple[float, str | None, int | None]] = set()
    for request in sim[name].requests:
        call = _call_number(request)
        fresh = request.connection not in used
        this = (request.when, request.key, call)
        if fresh and this in repeatable:
            repeatable.discard(this)
        else:
            yield Sent(name, mask(request.key) if request.key else None, request.when, call)
        if not fresh:
            repeatable.add(this)
        used.add(request.connection)


def _call_number(request: SimRequest) -> int | None:
    _, found, rest = json.dumps(request.body).partition("Tell me story ")
    return int(rest.partition(".")[0]) if found else None


# ------------------------------------------------------------------ the callers


async def _call(cortex: Cortex, called: Called) -> None:
    caller = called.caller
    await trio.sleep(caller.at)
    called.started = trio.current_time()
    async with trio.open_nursery() as nursery:
        if caller.patience is not None:
            nursery.start_soon(_leave_after, caller.patience, nursery.cancel_scope)
        with trio.move_on_after(float("inf") if caller.deadline is None else caller.deadline):
            try:
                await (_complete if caller.how == "complete" else _stream)(cortex, called)
            except CortexError as error:
                called.outcome, called.error = "error", error
                if isinstance(error, ProviderError | AllWorkersFailed):
                    called.attempts = error.attempts
        nursery.cancel_scope.cancel()
    if called.outcome == "nothing":
        called.outcome = "cancelled"
    called.ended = trio.current_time()


async def _leave_after(rounds: int, scope: trio.CancelScope) -> None:
    await _rounds(rounds)
    scope.cancel()


async def _rounds(count: int) -> None:
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def _complete(cortex: Cortex, called: Called) -> None:
    reply = await cortex.complete(called.caller.prompt, **called.caller.options)
    called.outcome, called.attempts, called.text = "whole", reply.attempts, reply.text
    called.events = [TextDelta(reply.text)] if reply.text else []


async def _stream(cortex: Cortex, called: Called) -> None:
    caller = called.caller
    stream = None
    try:
        async with cortex.chat(caller.prompt, on_interrupt=caller.how, **caller.options) as stream:
            async for event in stream:
                called.events.append(event)
                await trio.sleep(caller.pause)
                if caller.leaves_after is not None and len(called.events) > caller.leaves_after:
                    called.outcome = "left"
                    break
            else:
                called.outcome = "whole"
    finally:
        if stream is not None:
            called.attempts = stream.attempts


# ------------------------------------------------------------------ the one who interferes


@attrs.define
class _Director:
    sim: Simulator
    cortex: Cortex
    runtime: Runtime
    schedule: Schedule
    scripts: dict[str, _Script]
    seen: Seen

    async def act(self, step: Step) -> None:
        await trio.sleep(step.at)
        await _rounds(step.rounds)
        began = trio.current_time()
        await self._do(step)
        if step.what in ("reload", "check"):
            self.seen.lifted.append((began, trio.current_time()))

    async def _do(self, step: Step) -> None:
        match step.what:
            case "kill":
                self._kill(step.who)
            case "limit":
                for key in self.sim[step.who].api_keys[:2]:
                    self.scripts[step.who].limits[key] = trio.current_time() + step.seconds
            case "add":
                await self._add(step.who)
            case "remove":
                try:
                    await self.cortex.remove_worker(step.who, drain=step.seconds)
                except KeyError:
                    assert step.who not in self._workers() or self._workers()[step.who].draining
            case "reload":
                await self._reload(step)
            case "check":
                assert (await self.cortex.check_health()).system_health in (
                    "healthy",
                    "degraded",
                    "unhealthy",
                )
            case "look":
                await self.cortex.list_workers()
                assert self.cortex.explain("Hi") or not self._workers()

    def _workers(self) -> dict[str, Any]:
        return self.runtime.table.workers

    def _kill(self, who: str) -> None:
        with suppress(KeyError):  # it was removed, or is not there yet
            self.cortex.actor(who).kill()

    async def _add(self, name: str) -> None:
        [upstream] = [upstream for upstream in self.schedule.upstreams if upstream.name == name]
        try:
            await self.cortex.add_worker(name, _worker(self.sim, upstream))
        except ConfigError:
            assert name in self._workers()

    async def _reload(self, step: Step) -> None:
        """Everybody stays; one of them becomes more or less patient."""
        workers = {name: state.config for name, state in self._workers().items() if not state.draining}
        if not workers:
            return
        if step.who in workers:
            workers[step.who] = attrs.evolve(workers[step.who], timeout=step.seconds)
            self.seen.reloads[step.who] = (trio.current_time(), math.inf)
        config = attrs.evolve(self.runtime.config, workers=workers)
        assert isinstance(config, Config)
        try:
            await self.cortex.reload(config, drain=step.seconds)
        except ConfigError:  # one of them is being removed since a moment
            assert any(name not in self._workers() or self._workers()[name].draining for name in workers)
        if step.who in self.seen.reloads:
            self.seen.reloads[step.who] = (self.seen.reloads[step.who][0], trio.current_time())
