"""A worker: one provider with its keys and models, and the actor that decides which requests it admits.

`WorkerState` is made before the tree and outlives every crash of its actor; `Worker` is its only writer, and all
others may read it. A caller brings a `Permit` of its own making, has it admitted, does the I/O itself, writes the
result on the permit and tells the Worker. A message that is lost with a dying actor is read off the permit by the
next one. What is cooling down stands in `cooldowns`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import attrs
import trio

from ...failures import REACTIONS, Failure, FailureKind
from ...otp import GenServer, Ref
from ...providers import Provider
from ...telemetry import WorkerStatus
from ..settings.config import WorkerConfig
from ..transport.connections import Connections
from .breaker import Breaker
from .cooldowns import Cooldown, Cooldowns
from .endpoint import Endpoint

LATENCY_WEIGHT = 0.3
"""Weight of the newest time to first token in the moving average."""
FAILURES_KEPT = 5
"""Of each worker, for snapshots: enough to see whether they are all of one kind."""


@attrs.define(eq=False)
class Permit:
    """One attempt's right to ask a worker: the caller makes it, the Worker admits it, the caller settles it."""

    worker: str
    model: str
    admitted: bool = False
    trial: bool = False  # it is a trial of a half-open breaker
    has_content: bool = False  # written once, by the caller: a trial with content lets the next one begin
    answered: bool = False  # written by the Worker: its breaker knows that
    is_stale: bool = False  # a reload has replaced the endpoint it uses: it says nothing about the new one
    settled: bool = False  # written once, by the caller
    ended_at: float | None = None  # Trio time of that; None while it is not settled
    sent: bool = True  # False with settled: the caller left before it asked anything
    failure: Failure | None = None  # None with settled: it was served
    time_to_first_token: float | None = None
    headers: Mapping[str, str] | None = attrs.field(default=None, repr=False)  # of limits, in the answer


@attrs.frozen
class Refusal:
    """Why a worker may not be asked. `until` is Trio time; infinity: time alone changes nothing.

    `has_place_later` is True where a request in flight must end first, at a time that is not known.
    """

    reason: str
    kind: FailureKind | None = None
    until: float = math.inf
    has_place_later: bool = False


@attrs.define(eq=False)
class WorkerState:
    """All there is to know of a worker. Only its actor writes; it is published by being readable."""

    name: str
    endpoint: Endpoint
    ref: Ref[Worker]
    cooldowns: Cooldowns = attrs.field(factory=Cooldowns, repr=False)  # of all workers
    breaker: Breaker = attrs.field(factory=Breaker)
    permits: set[Permit] = attrs.field(factory=set)
    draining: bool = False
    drained: trio.Event = attrs.field(factory=trio.Event)  # set once it is draining and nothing is in flight
    last_served: float = -math.inf  # Trio time of the last answer that went well
    last_failure: FailureKind | None = None
    # Failures of this worker with the Trio time of each, the oldest first; for snapshots.
    last_failures: deque[tuple[float, Failure]] = attrs.field(factory=lambda: deque(maxlen=FAILURES_KEPT))
    status: WorkerStatus = "available"  # as last published; `status.status_of` says what it is right now
    since: datetime = attrs.field(factory=lambda: datetime.now(UTC))  # of `status`
    changes_at: float = math.inf  # Trio time at which `status` may end by itself
    requests: int = 0
    failures: int = 0
    starts: int = 0
    latency: float | None = None  # moving average of the time to first token, seconds
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)  # of limits, in the last answer

    @property
    def config(self) -> WorkerConfig:
        return self.endpoint.config

    @property
    def connections(self) -> Connections:
        return self.endpoint.connections

    @property
    def kind(self) -> Provider:
        return self.endpoint.provider

    @property
    def models(self) -> Sequence[str]:
        return self.endpoint.models

    @property
    def priority(self) -> int:
        return self.endpoint.priority

    @property
    def timeout(self) -> float:
        """Seconds to the first token."""
        return self.endpoint.timeout

    @property
    def in_flight(self) -> int:
        return len(self.permits)

    @property
    def is_full(self) -> bool:
        limit = self.config.max_concurrency
        return limit is not None and self.in_flight >= limit

    @property
    def free_places(self) -> float:
        """Requests it may be asked beside those that have not ended; infinity without a limit."""
        limit = self.config.max_concurrency
        return math.inf if limit is None else limit - sum(not permit.settled for permit in self.permits)

    @property
    def has_unprocessed_results(self) -> bool:
        """A request has ended, or a trial has content, and the actor does not know yet.

        It will, once it is asked to admit another.
        """
        return any(permit.settled or _is_news(permit) for permit in self.permits)

    @property
    def restarts(self) -> int:
        return max(0, self.starts - 1)

    def cooldown(self, model: str, now: float) -> Cooldown | None:
        """What keeps this worker from serving `model`, whatever the key; it may allow a trial."""
        return self.cooldowns.of_worker(self.name, model, now)

    def refusal(self, model: str, now: float) -> Refusal | None:
        """Why this worker would not admit a request for `model` now, or None. Sends and changes nothing."""
        if self.draining:
            return Refusal("is being removed")
        cooldown = self.cooldown(model, now)
        if cooldown is not None and not cooldown.may_be_tried(now):
            refusal = cooling_down(cooldown)
            if cooldown.kind is FailureKind.MODEL_NOT_FOUND:
                return attrs.evolve(refusal, reason=f"{refusal.reason} (model {model!r:.100})")
            return refusal
        if self.is_full and not self.has_unprocessed_results:
            requests = "1 request" if self.in_flight == 1 else f"{self.in_flight} requests"
            return Refusal(f"is busy with {requests}, its limit", has_place_later=True)
        if not self.breaker.admits(now) and not self.has_unprocessed_results:
            until = self.breaker.reopens_at
            reason = f"breaker open after {_named(self.last_failure)}"
            if until <= now:  # half-open, and another request has the trial
                return Refusal(reason, self.last_failure, has_place_later=True)
            return Refusal(reason, self.last_failure, until)
        return None


def _is_news(permit: Permit) -> bool:
    """It is a trial with content, of which its breaker does not know."""
    return permit.trial and permit.has_content and not permit.answered


def cooling_down(cooldown: Cooldown, what: str = "") -> Refusal:
    """The refusal that a cooldown is, until a request may at least try."""
    return Refusal(f"{what}cooling down after {cooldown.kind.value}", cooldown.kind, cooldown.trial_at)


def _named(kind: FailureKind | None) -> str:
    return kind.value if kind else "failures"


def breaker_weight(failure: Failure | None) -> float | None:
    """How much of a failure of its worker one finished request was; None: it says nothing about the worker.

    A refusal that proves that the worker is alive closes nothing and opens nothing; what ran out on our side, or the
    caller's own limits, is not the worker's doing.
    """
    if failure is None:
        return 0.0
    weight = REACTIONS[failure.kind].weight
    return None if failure.ours or not weight else weight


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
        self._catch_up()  # messages may have been lost with the process before
        if not self._state.draining:  # one that is being removed must not come back into the table
            await self._register(self._state)
        self._changed(self._state)  # a `refresh` may have been lost as well

    async def admit(self, permit: Permit) -> Refusal | None:
        """Admit the caller's permit, or say why not. One the caller has given up already is left alone."""
        state, now = self._state, trio.current_time()
        if permit.settled:
            return None
        if state.is_full or not state.breaker.admits(now):
            self._catch_up()  # before a request is refused
        if refusal := state.refusal(permit.model, now):
            return refusal
        state.cooldowns.begin_trial(state.name, permit.model, None, now)
        permit.trial = state.breaker.take(now)
        permit.admitted = True
        state.permits.add(permit)
        state.requests += 1
        return None

    async def settle(self, permit: Permit) -> None:
        """Learn what came of a permit. A second message about the same one changes nothing."""
        self._settle(permit)

    async def check_passed(self) -> None:
        """A health check was answered: an open breaker may try again."""
        self._state.breaker.probe_succeeded()
        self._changed(self._state)

    async def refresh(self) -> None:
        """Something beside this worker changed (its keys, the time): publish its status anew."""
        self._changed(self._state)

    async def reconfigure(self, endpoint: Endpoint) -> None:
        """Go on at another endpoint; requests in flight end on the connections they began on."""
        state = self._state
        state.endpoint, state.breaker = endpoint, Breaker()
        for permit in state.permits:
            permit.trial, permit.is_stale = False, True  # its breaker is gone
        self._changed(state)

    async def drain(self) -> bool:
        """Admit no request from now on; `WorkerState.drained` is set once the last request has ended.

        Returns whether this is news.
        """
        news, self._state.draining = not self._state.draining, True
        self._drained()
        return news

    def _catch_up(self) -> None:
        """Learn what is written on the permits; the messages that say so, if they come, change nothing."""
        for permit in list(self._state.permits):
            if _is_news(permit):
                permit.answered = True
                self._state.breaker.trial_answers()
            if permit.settled:
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
        weight = None if permit.is_stale else breaker_weight(failure)
        may_open = bool(weight) and self._may_eject(state)
        state.breaker.record(weight, now, trial=permit.trial, answered=permit.answered, may_open=may_open)
        if failure is None:
            state.last_served = max(state.last_served, now)
            self._remember_latency(permit.time_to_first_token)
        elif failure.kind is not FailureKind.CANCELLED and not failure.ours:
            state.failures += 1
            state.last_failure = failure.kind
            state.last_failures.append((now, failure))
        self._drained()
        self._changed(state)

    def _remember_latency(self, seconds: float | None) -> None:
        if seconds is None:
            return
        known = self._state.latency
        self._state.latency = seconds if known is None else known + LATENCY_WEIGHT * (seconds - known)

    def _drained(self) -> None:
        if self._state.draining and not self._state.permits:
            self._state.drained.set()
