"""A worker: one provider with its keys and models, and the actor that decides who may ask it.

`WorkerState` is made before the tree and outlives every crash of its actor; `Worker` is its only writer, and
everyone else may read it. A caller brings a `Permit` of its own making, has it admitted, does the I/O
itself, writes on the permit what came of it and tells the Worker. A telling that is lost with a dying actor
is read off the permit by the next one.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import attrs
import trio

from ..failures import REACTIONS, Failure, FailureKind, Rest
from ..otp import GenServer, Ref
from ..providers import Provider
from .breaker import Breaker, Verdict
from .config import WorkerConfig
from .secrets import ApiKey
from .transport import Connections

LATENCY_WEIGHT = 0.3
"""Weight of the newest time to first token in the moving average."""
CHECK_COUNTS_SECONDS = 120.0
"""How long a bad health check keeps real traffic away when no other check follows."""
SECOND_OPINION = 2
"""Keys, where there are as many, that must not find a model before the worker is believed not to have it."""
MODELS_KNOWN = 1_000
"""Missing models that are remembered; callers name what they like, and memory is bounded."""


@attrs.define(eq=False)
class Permit:
    """One attempt's right to ask a worker: a slip the caller makes, the Worker admits, the caller settles."""

    worker: str
    model: str
    admitted: bool = False
    trial: bool = False  # it is the one trial of a half-open breaker
    settled: bool = False  # written once, by the caller
    ended_at: float | None = None  # Trio time of that; of the telling, where nobody wrote it
    sent: bool = True  # False with settled: the caller left before it asked anything
    failure: Failure | None = None  # None with settled: it served
    time_to_first_token: float | None = None
    headers: Mapping[str, str] | None = attrs.field(default=None, repr=False)  # of limits, in the answer


@attrs.frozen
class Refusal:
    """Why a worker may not be asked. `until` is Trio time; infinity means: time alone changes nothing."""

    reason: str
    kind: FailureKind | None = None
    until: float = math.inf


@attrs.frozen
class Checked:
    """What a free health request said, and when (Trio time)."""

    status: str  # "available" | "unavailable" | "quota_exceeded" | "rate_limited"
    kind: FailureKind | None
    at: float


@attrs.define(eq=False)
class WorkerState:
    """All there is to know of a worker. Only its actor writes; it is published by being readable."""

    name: str
    config: WorkerConfig
    connections: Connections
    ref: Ref[Worker]
    breaker: Breaker = attrs.field(factory=Breaker)
    permits: set[Permit] = attrs.field(factory=set)
    model_rests: dict[str, FailureKind] = attrs.field(factory=dict)
    model_doubts: dict[str, int] = attrs.field(factory=dict)  # times it was not found since it last served
    region_blocked: bool = False
    left_alone_until: float = -math.inf  # Trio time; the provider said so (Retry-After) and not of a key
    draining: bool = False
    idle: trio.Event = attrs.field(factory=trio.Event)  # set while draining and nothing is in flight
    checked: Checked | None = None
    last_served: float = -math.inf  # Trio time of the last answer that went well
    last_failure: FailureKind | None = None
    status: str = "available"  # as last published; `status.status_of` says what it is right now
    since: datetime = attrs.field(factory=lambda: datetime.now(UTC))  # of `status`
    changes_at: float = math.inf  # Trio time at which `status` may end by itself
    requests: int = 0
    failures: int = 0
    starts: int = 0
    latency: float | None = None  # moving average of the time to first token, seconds
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)  # of limits, in the last answer

    @property
    def kind(self) -> Provider:
        return self.config.kind

    @property
    def models(self) -> Sequence[str]:
        return self.config.models or self.kind.default_models

    @property
    def priority(self) -> int:
        return self.kind.priority if self.config.priority is None else self.config.priority

    @property
    def timeout(self) -> float:
        """Seconds to the first token."""
        return self.kind.timeout if self.config.timeout is None else self.config.timeout

    def has(self, key: ApiKey | None) -> bool:
        """Is it of this configuration? A key that comes or goes with another one is not for this address."""
        return key in (self.config.api_keys or (None,))

    @property
    def in_flight(self) -> int:
        return len(self.permits)

    @property
    def is_full(self) -> bool:
        limit = self.config.max_concurrency
        return limit is not None and self.in_flight >= limit

    @property
    def has_news(self) -> bool:
        """A request has ended of which the actor has not heard yet. It will have, once it is asked to admit another."""
        return any(permit.settled for permit in self.permits)

    @property
    def restarts(self) -> int:
        return max(0, self.starts - 1)

    def context_window(self, model: str) -> int | None:
        """Tokens of `model`; None if nobody said. The longest matching prefix of the provider's table counts."""
        if self.config.context_window is not None:
            return self.config.context_window
        known = self.kind.context_windows
        prefix = max((p for p in known if model.startswith(p)), key=len, default=None)
        return known[prefix] if prefix is not None else None

    def refusal(self, model: str, now: float) -> Refusal | None:
        """Why this worker would not admit a request for `model` now, or None. Sends and changes nothing."""
        if self.draining:
            return Refusal("is being removed")
        if self.region_blocked:
            return Refusal("does not serve this region", FailureKind.REGION)
        if model in self.model_rests:
            return Refusal(f"has no model {model!r}", self.model_rests[model])
        if now < self.left_alone_until:
            said = f"asked to be left alone ({_said(self.last_failure)})"
            return Refusal(said, self.last_failure, self.left_alone_until)
        if self.is_full and not self.has_news:
            return Refusal(f"is busy with {self.in_flight} requests, its limit", until=now)
        if not self.breaker.admits(now) and not self.has_news:
            until = max(now, self.breaker.reopens_at)
            return Refusal(f"is failing ({_said(self.last_failure)})", self.last_failure, until)
        return self.unwell(now)

    def unwell(self, now: float) -> Refusal | None:
        """A bad health check keeps a worker from being asked until the next one, or until it is too old to count."""
        checked = self.checked
        if checked is None or checked.status == "available" or checked.at < self.last_served:
            return None
        if now >= checked.at + CHECK_COUNTS_SECONDS:
            return None
        said = f"did not pass its health check ({_said(checked.kind)})"
        return Refusal(said, checked.kind, checked.at + CHECK_COUNTS_SECONDS)


def _said(kind: FailureKind | None) -> str:
    return kind.value if kind else "no reason given"


def verdict_of(failure: Failure | None) -> Verdict:
    """What one finished request says about its worker, by the reaction table."""
    if failure is None:
        return Verdict.SERVED
    match REACTIONS[failure.kind].rest:
        case Rest.BREAKER:
            return Verdict.FAILED
        case Rest.BREAKER_HALF:
            return Verdict.HALF_FAILED
        case _:
            # A refusal that proves the worker is alive closes nothing and opens nothing.
            return Verdict.NOTHING


class Worker(GenServer):
    """Owns admission to one provider: breaker, concurrency limit, table of requests in flight, latency, drain."""

    messages_per_turn = 32  # no handler waits; with 1, a request beside nine others took a fifth more CPU

    def __init__(
        self,
        state: WorkerState,
        register: Callable[[WorkerState], Awaitable[None]],
        may_eject: Callable[[WorkerState], bool],
        changed: Callable[[WorkerState], None] = lambda state: None,
    ) -> None:
        self._state = state
        self._changed = changed
        self._register = register
        self._may_eject = may_eject

    async def init(self) -> None:
        self._state.starts += 1
        self._catch_up()  # with tellings that were lost with the process before
        if not self._state.draining:  # one that is being removed must not come back into the table
            await self._register(self._state)
        self._changed(self._state)  # it may have missed its cue

    async def admit(self, permit: Permit) -> Refusal | None:
        """Admit the caller's permit, or say why not. One the caller has given up already is left alone."""
        state, now = self._state, trio.current_time()
        if permit.settled:
            return None
        if state.is_full or not state.breaker.admits(now):
            self._catch_up()  # before somebody is refused
        if refusal := state.refusal(permit.model, now):
            return refusal
        permit.trial = state.breaker.take(now)
        permit.admitted = True
        state.permits.add(permit)
        state.requests += 1
        return None

    async def settle(self, permit: Permit) -> None:
        """Learn what came of a permit. A second telling of the same one changes nothing."""
        self._settle(permit)

    async def checked(self, verdict: Checked) -> None:
        """Take note of a health check; a good one lets an open breaker try again."""
        self._state.checked = verdict
        if verdict.status == "available":
            self._state.breaker.probe_succeeded()
        self._changed(self._state)

    async def refresh(self) -> None:
        """Something beside this worker changed (its keys, the time): publish its status anew."""
        self._changed(self._state)

    async def reconfigure(self, config: WorkerConfig, connections: Connections) -> None:
        """Go on under another configuration; requests in flight end on the connections they began on.

        What only a new configuration could cure is forgotten: missing models, a refused region.
        """
        state = self._state
        state.config, state.connections = config, connections
        state.model_rests.clear()
        state.model_doubts.clear()
        state.region_blocked, state.checked, state.breaker = False, None, Breaker()
        state.left_alone_until = -math.inf
        for permit in state.permits:
            permit.trial = False  # its breaker is gone
        self._changed(state)

    async def drain(self) -> bool:
        """Admit nobody from now on; `WorkerState.idle` is set once the last request has ended.

        Returns whether this is news.
        """
        news, self._state.draining = not self._state.draining, True
        self._drained()
        return news

    def _catch_up(self) -> None:
        """Learn from the permits that are settled already; their tellings, if they come, change nothing."""
        for permit in [permit for permit in self._state.permits if permit.settled]:
            self._settle(permit)

    def _settle(self, permit: Permit) -> None:
        state, now = self._state, permit.ended_at
        if permit not in state.permits:
            return
        if now is None:
            now = trio.current_time()
        state.requests -= not permit.sent  # counted when admitted, so that it counts at once
        state.permits.discard(permit)
        failure = permit.failure
        if permit.headers is not None:
            state.headers = permit.headers
        verdict = verdict_of(failure)
        failed = verdict in (Verdict.FAILED, Verdict.HALF_FAILED)
        state.breaker.record(verdict, now, trial=permit.trial, may_open=failed and self._may_eject(state))
        if failure is None:
            state.last_served = max(state.last_served, now)
            state.model_doubts.pop(permit.model, None)
            self._remember_latency(permit.time_to_first_token)
        elif failure.kind is not FailureKind.CANCELLED:
            state.failures += 1
            self._rest(permit.model, failure, now)
        self._drained()
        self._changed(state)

    def _rest(self, model: str, failure: Failure, now: float) -> None:
        self._state.last_failure = failure.kind
        match REACTIONS[failure.kind].rest:
            case Rest.MODEL:
                self._doubt(model, failure.kind)
            case Rest.PROVIDER:
                self._state.region_blocked = True
            case Rest.BREAKER if failure.retry_after is not None:
                until = now + failure.retry_after
                self._state.left_alone_until = max(self._state.left_alone_until, until)
                self._state.breaker.not_before(until)
            case _:
                pass  # keys rest in the key ring, the rest is the breaker's

    def _doubt(self, model: str, kind: FailureKind) -> None:
        """A model not found with one key may be there with another (OpenAI: "or you do not have access to it")."""
        state = self._state
        doubts = state.model_doubts.pop(model, 0) + 1
        if doubts >= min(SECOND_OPINION, len(state.config.api_keys)):
            state.model_rests[model] = kind
        else:
            state.model_doubts[model] = doubts
        for known in (state.model_rests, state.model_doubts):
            while len(known) > MODELS_KNOWN:
                del known[next(iter(known))]

    def _remember_latency(self, seconds: float | None) -> None:
        if seconds is None:
            return
        known = self._state.latency
        self._state.latency = seconds if known is None else known + LATENCY_WEIGHT * (seconds - known)

    def _drained(self) -> None:
        if self._state.draining and not self._state.permits:
            self._state.idle.set()
