"""A worker: one provider with its API keys and models, and the actor that admits requests to it.

`WorkerState` is made before the supervision tree and survives every crash of its actor. `Worker` is its only writer;
all other code may read it. A caller makes a `Permit`, asks the Worker to admit it, does the I/O itself, writes the
result on the permit and sends the permit to the Worker. If that message is lost because the actor crashes, the
restarted actor finds the result on the permit. The cooldowns of all workers are in one table, `Cooldowns`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs
import trio

from ...failures import REACTIONS, Failure, FailureKind
from ...otp import GenServer, Ref
from ...providers import Provider
from ...telemetry import WorkerStatus
from ..settings.config import WorkerConfig
from .breaker import Breaker, Opening
from .cooldowns import Cooldown, Cooldowns
from .endpoint import Endpoint

if TYPE_CHECKING:
    from ..transport.connections import Connections  # a status of a worker can be used without loading httpx

LATENCY_WEIGHT = 0.3
"""Weight of the newest time to first token in the moving average."""
FAILURES_KEPT = 5
"""Of each worker, for snapshots: enough to see whether they are all of one kind."""


@attrs.define(eq=False)
class Permit:
    """The permission of one attempt to send a request to a worker.

    The caller makes it, the Worker admits it, the caller settles it. Invariants: it is in `WorkerState.permits` from
    its admission until the Worker has processed its result; `released` implies `has_content` and `trial`.
    """

    worker: str
    model: str
    admitted: bool = False
    """Written once, by the Worker."""
    trial: bool = False
    """It is a trial of a half-open breaker. Written by the Worker; a reload sets it to False."""
    has_content: bool = False
    """The first content has arrived. Written once, by the caller."""
    released: bool = False
    """Another trial may begin, because this one has content. Written by the Worker."""
    is_stale: bool = False
    """A reload has replaced the endpoint it uses, so its result says nothing of the new one. Written by the Worker."""
    settled: bool = False
    """The attempt has ended. Written once by the caller, after all fields below."""
    ended_at: float | None = None
    """Trio time at which the attempt ended; None before."""
    sent: bool = True
    """False: the attempt ended before its request was sent."""
    failure: Failure | None = None
    """None, if the permit is settled: the request succeeded, or was not sent."""
    time_to_first_token: float | None = None
    """Seconds from sending the request; None if no content arrived."""
    headers: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    """The rate limit headers of the response; None if there was no response."""

    @property
    def has_unprocessed_content(self) -> bool:
        """Whether it is a trial with content, and the breaker does not know that yet."""
        return self.trial and self.has_content and not self.released


@attrs.frozen
class Refusal:
    """Why a worker does not admit a request now."""

    reason: str
    """Completes a sentence that begins with the name of the worker."""
    kind: FailureKind | None = None
    """The failure that led to the refusal; None if there was none."""
    until: float = math.inf
    """Trio time from which a request may be admitted; infinity if no time is known."""
    until_request_ends: bool = False
    """Whether a request may be admitted when one in flight ends, at a time that is not known."""


@attrs.define(eq=False)
class WorkerState:
    """The state of one worker. Written only by its actor, or in calls that its actor makes; all other code reads it."""

    name: str
    """Never changes."""
    endpoint: Endpoint
    """Replaced as a whole by a reload."""
    ref: Ref[Worker]
    """The address of the actor; valid across restarts."""
    cooldowns: Cooldowns = attrs.field(factory=Cooldowns, repr=False)
    """The table of all workers, which they share: attempts and health checks write it, not the actor alone."""
    breaker: Breaker = attrs.field(factory=Breaker)
    """A new one after each reload of this worker."""
    permits: set[Permit] = attrs.field(factory=set)
    """Requests in flight, and those whose result is not processed yet."""
    draining: bool = False
    """The worker is being removed and admits no request. Never False again."""
    drained: trio.Event = attrs.field(factory=trio.Event)
    """Set as soon as `draining` is True and `permits` is empty."""
    last_served: float = -math.inf
    """Trio time at which the last successful request ended; minus infinity if there was none."""
    last_failures: deque[tuple[float, Failure]] = attrs.field(factory=lambda: deque(maxlen=FAILURES_KEPT))
    """The last failures with the Trio time of each, the oldest first; for snapshots."""
    last_failure: FailureKind | None = None
    """Of the last failed request; None if there was none. It names the reason why the breaker is open."""
    status: WorkerStatus = "available"
    """As last published. `status.status_of` computes the current one."""
    since: datetime = attrs.field(factory=lambda: datetime.now(UTC))
    """When `status` was published."""
    changes_at: float = math.inf
    """Trio time at which something that is published may change without a request; infinity if nothing does."""
    requests: int = 0
    """Requests that were sent, including those in flight."""
    failures: int = 0
    """Requests that failed, without those that were cancelled or failed for a reason on this machine."""
    starts: int = 0
    """How often the actor was started."""
    latency: float | None = None
    """Moving average of the time to first token, in seconds; None before the first one."""
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """The rate limit headers of the last response."""

    @property
    def config(self) -> WorkerConfig:
        """The configuration of the current endpoint."""
        return self.endpoint.config

    @property
    def connections(self) -> Connections:
        """The connections of the current endpoint."""
        return self.endpoint.connections

    @property
    def kind(self) -> Provider:
        """The provider of the current endpoint."""
        return self.endpoint.provider

    @property
    def models(self) -> Sequence[str]:
        """At least one; the first is the default."""
        return self.endpoint.models

    @property
    def priority(self) -> int:
        """The lowest number is asked first."""
        return self.endpoint.priority

    @property
    def timeout(self) -> float:
        """Seconds from sending a request to the first token."""
        return self.endpoint.timeout

    @property
    def in_flight(self) -> int:
        """Requests that were admitted and whose result is not processed yet."""
        return len(self.permits)

    @property
    def is_full(self) -> bool:
        """Whether `max_concurrency` requests are in flight."""
        limit = self.config.max_concurrency
        return limit is not None and self.in_flight >= limit

    @property
    def free_slots(self) -> float:
        """How many more requests `max_concurrency` allows, not counting ended ones; infinity without a limit."""
        limit = self.config.max_concurrency
        return math.inf if limit is None else limit - sum(not permit.settled for permit in self.permits)

    @property
    def has_unprocessed_results(self) -> bool:
        """Whether a request has ended, or a trial has content, and the actor has not processed that yet.

        The actor processes it before it refuses a request.
        """
        return any(permit.settled or permit.has_unprocessed_content for permit in self.permits)

    @property
    def restarts(self) -> int:
        """How often the actor was restarted after a crash."""
        return max(0, self.starts - 1)

    def cooldown(self, model: str, now: float) -> Cooldown | None:
        """Return the cooldown of this worker for `model` with any API key, or None. It may allow a trial."""
        return self.cooldowns.of_worker(self.name, model, now)

    def refusal(self, model: str, now: float) -> Refusal | None:
        """Return why a request for `model` would not be admitted at `now` (Trio time), or None. Changes nothing."""
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
            return Refusal(f"is busy with {requests}, its limit", until_request_ends=True)
        if not self.breaker.admits(now) and not self.has_unprocessed_results:
            until = self.breaker.admits_at
            reason = f"breaker open after {self.last_failure.value if self.last_failure else 'failures'}"
            if until <= now:  # half-open, and another request is the trial
                return Refusal(reason, self.last_failure, until_request_ends=True)
            return Refusal(reason, self.last_failure, until)
        return None


def cooling_down(cooldown: Cooldown, what: str = "") -> Refusal:
    """Return the refusal for a cooldown. It ends when a trial is allowed.

    Args:
        cooldown: that has not ended.
        what: is cooling down, with a blank at its end; "" for the worker itself.
    """
    return Refusal(f"{what}cooling down after {cooldown.kind.value}", cooldown.kind, cooldown.trial_at)


def breaker_weight(failure: Failure | None) -> float | None:
    """Return how much the result of one request counts as a failure of its worker, from 0 to 1.

    Returns:
        None if the result says nothing of the worker: the request was rejected by a worker that works, or the reason is
        on this machine or a limit of the caller.
    """
    if failure is None:
        return 0.0
    weight = REACTIONS[failure.kind].weight
    return None if failure.ours or not weight else weight


class Worker(GenServer):
    """The actor of one worker: breaker, concurrency limit, requests in flight, average latency, drain."""

    # No handler waits. With 1, a request beside nine others takes a fifth more CPU time.
    messages_per_turn = 32

    def __init__(
        self,
        state: WorkerState,
        register: Callable[[WorkerState], Awaitable[None]],
        may_eject: Callable[[WorkerState], bool],
        changed: Callable[[WorkerState], None] = lambda state: None,
    ) -> None:
        """
        Args:
            state: of the worker; this actor is its only writer.
            register: puts the state into the table of workers.
            may_eject: whether the breaker may open: not too many others are open already.
            changed: called after every change, to publish the status.
        """
        self._state = state
        self._changed = changed
        self._register = register
        self._may_eject = may_eject

    async def init(self) -> None:
        self._state.starts += 1
        self._process_permits()  # messages may have been lost with the crashed process
        if not self._state.draining:  # a worker that is being removed must not return into the table
            await self._register(self._state)
        self._changed(self._state)  # a `refresh` may have been lost as well

    async def admit(self, permit: Permit) -> Refusal | None:
        """Admit a permit, or return why not. A permit that is already settled is ignored: its caller has left."""
        state, now = self._state, trio.current_time()
        if permit.settled:
            return None
        if state.is_full or not state.breaker.admits(now):
            self._process_permits()  # some may have ended
        if refusal := state.refusal(permit.model, now):
            return refusal
        state.cooldowns.begin_trial(state.name, permit.model, None, now)
        permit.trial = state.breaker.take(now)
        permit.admitted = True
        state.permits.add(permit)
        state.requests += 1
        return None

    async def settle(self, permit: Permit) -> None:
        """Process the result on a permit. A second call with the same permit changes nothing."""
        self._settle(permit)

    async def check_passed(self) -> None:
        """Let an open breaker admit a trial, because a health check passed."""
        self._state.breaker.check_passed()
        self._changed(self._state)

    async def adopt_breaker(
        self, breaker: Breaker, opening: Opening | None, kind: FailureKind | None
    ) -> None:
        """Open or close the breaker, because that of another process did so.

        Args:
            breaker: that was meant; a reload may have replaced it.
            opening: how it is open; None: it is closed.
            kind: of the last failure there; None if it is not known.
        """
        state = self._state
        if breaker is not state.breaker:
            return
        if opening is None or breaker.opening is not None or self._may_eject(state):
            breaker.adopt(opening)
            if opening is not None and kind is not None:
                state.last_failure = kind
            self._changed(state)

    async def refresh(self) -> None:
        """Publish the status again: something that it depends on has changed, for example the cooldown of a key."""
        self._changed(self._state)

    async def reconfigure(self, endpoint: Endpoint) -> None:
        """Use another endpoint from now on. Requests in flight end on the connections of the old one."""
        state = self._state
        state.endpoint, state.breaker = endpoint, Breaker()
        for permit in state.permits:
            permit.trial, permit.is_stale = False, True  # the breaker of its trial is gone
        self._changed(state)

    async def drain(self) -> bool:
        """Admit no request from now on. `WorkerState.drained` is set when the last request has ended.

        Returns:
            Whether the worker was not being drained before.
        """
        is_first, self._state.draining = not self._state.draining, True
        self._note_drained()
        return is_first

    def _process_permits(self) -> None:
        """Process the results on all permits. Messages about them that arrive later change nothing."""
        for permit in list(self._state.permits):
            if permit.has_unprocessed_content:
                permit.released = True
                self._state.breaker.release_trial()
            if permit.settled:
                self._settle(permit)

    def _settle(self, permit: Permit) -> None:
        state, now = self._state, permit.ended_at
        if permit not in state.permits:
            return
        if now is None:
            now = trio.current_time()
        state.requests -= not permit.sent  # it was counted when it was admitted
        state.permits.discard(permit)
        failure = permit.failure
        if permit.headers is not None:
            state.headers = permit.headers
        weight = None if permit.is_stale else breaker_weight(failure)
        may_open = bool(weight) and self._may_eject(state)
        state.breaker.record(weight, now, trial=permit.trial, is_released=permit.released, may_open=may_open)
        if failure is None:
            state.last_served = max(state.last_served, now)
            self._update_latency(permit.time_to_first_token)
        elif failure.kind is not FailureKind.CANCELLED and not failure.ours:
            state.failures += 1
            state.last_failure = failure.kind
            state.last_failures.append((now, failure))
        self._note_drained()
        self._changed(state)

    def _update_latency(self, seconds: float | None) -> None:
        if seconds is None:
            return
        known = self._state.latency
        self._state.latency = seconds if known is None else known + LATENCY_WEIGHT * (seconds - known)

    def _note_drained(self) -> None:
        if self._state.draining and not self._state.permits:
            self._state.drained.set()
