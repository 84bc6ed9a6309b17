"""What was observed in one run: the trace, counts, violated invariants, and the lanes of the timeline."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import attrs
import trio

from ...events import Attempt
from ...failures import Failure, FailureKind
from ...otp import Report, ReportKind
from ...telemetry import KeySnapshot, Snapshot, WorkerStatusChanged
from .callers import CallRecord
from .plan import Intervention

KINDS_OF_KEY_AND_MODEL = (FailureKind.RATE_LIMIT,)
KINDS_OF_KEY = (FailureKind.QUOTA,)
KINDS_OF_WORKER = (FailureKind.OVERLOADED, FailureKind.SERVER, FailureKind.EDGE)
LONGEST_COOLDOWN_SECONDS = 3600.0
"""No cooldown is longer, whatever a Retry-After says."""
TRIAL_SECONDS = 60.0
"""After a rejection with a Retry-After, one request may be tried a minute later if no other worker can serve."""
_Scope = tuple[str, str | None, str | None]
"""Worker, API key, model; None means all of them."""
INSTANT = 1e-6
"""Seconds by which two sums of the same floats may differ."""


@attrs.frozen
class WorkerSample:
    """The state of one worker from `at` (Trio time) on."""

    at: float
    status: str
    breaker: str
    keys_cooling_down: int
    keys: int


@attrs.frozen
class EndedAttempt:
    """One attempt, and when it ended (Trio time)."""

    at: float
    attempt: Attempt

    @property
    def began(self) -> float:
        return self.at - self.attempt.duration


@attrs.frozen
class TimelineMark:
    """An event of a worker or an actor at `at`, or a fault from `at` to `until` (Trio time)."""

    at: float
    target: str
    event: str
    until: float | None = None


@attrs.frozen
class DoneIntervention:
    """An intervention, and when it began and ended (Trio time)."""

    planned: Intervention
    began: float
    ended: float


@final
class Recorder:
    """Records one run. `violations` says which invariants were violated and how; it is empty after a good run."""

    def __init__(self, seed: int, *, keep_trace: bool = False) -> None:
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.violations: list[str] = []
        self.calls: list[CallRecord] = []
        self.attempts: list[Attempt] = []
        self.ended: dict[str, list[EndedAttempt]] = {}
        """By worker, in the order in which they ended."""
        self.configured_at: list[float] = []
        """When an operator began or finished a check, a reload or a replacement."""
        self.interventions: list[DoneIntervention] = []
        """In the order in which they ended."""
        self.kills: list[tuple[float, str]] = []
        """When which actor was killed."""
        self.lanes: dict[str, list[WorkerSample]] = {}
        """By worker; one sample for each change."""
        self.marks: list[TimelineMark] = []
        self.gave_up: BaseException | None = None
        """The error with which the supervision tree stopped after too many restarts."""
        self.lines: list[str] = []
        """The trace, if `keep_trace` is set."""
        self._keep_trace = keep_trace
        self._digest = hashlib.sha256()
        self._hints: dict[_Scope, tuple[float, float]] = {}  # when the hint came, and until when it holds
        self._configuring: Counter[str] = Counter()  # by worker: operations that are running

    @property
    def digest(self) -> str:
        """A hash over the whole trace."""
        return self._digest.hexdigest()

    def trace(self, event: str) -> None:
        line = f"{trio.current_time()!r} {event}\n"
        self._digest.update(line.encode())
        if self._keep_trace:
            self.lines.append(line)

    def count_fault(self, fault: str) -> None:
        self.injected[fault] += 1

    def mark(self, target: str, event: str, until: float | None = None) -> None:
        self.marks.append(TimelineMark(trio.current_time(), target, event, until))
        self.trace(f"{event} {target}")

    def record_violation(self, violation: str) -> None:
        """An invariant was violated."""
        self.violations.append(f"at {trio.current_time():.3f} s: {violation}")
        self.trace(f"VIOLATION {violation}")

    def on_call(self, record: CallRecord) -> None:
        """A call has ended."""
        self.trace(record.summary())
        self.counts["tool calls executed"] += len(record.received_calls) if record.results_sent else 0
        self.counts["texts embedded"] += len(record.vectors)

    # ---- events of the gateway

    def on_event(self, event: object) -> None:
        match event:
            case Attempt():
                self._on_attempt(event)
            case WorkerStatusChanged():
                reason = event.reason.value if event.reason else "-"
                self.trace(f"status {event.worker} {event.new} {reason}")
                self.counts["changes of status"] += 1
            case Report(kind=kind):
                self.trace(f"report {kind.value} {event.supervisor} {event.child} {event.reason}")
                self.counts["restarts"] += kind is ReportKind.CHILD_TERMINATED

    def _on_attempt(self, attempt: Attempt) -> None:
        now, failure = trio.current_time(), attempt.failure
        outcome = failure.kind.value if failure else "served"
        self.trace(f"attempt {attempt.worker} {attempt.key} {outcome} {attempt.duration!r} {attempt.usage}")
        self.attempts.append(attempt)
        self.ended.setdefault(attempt.worker, []).append(EndedAttempt(now, attempt))
        self.marks.append(TimelineMark(now, attempt.worker, outcome))
        self._check_hints(attempt, now - attempt.duration)
        if failure is not None and failure.retry_after is not None:
            self._add_hint(attempt, failure, now)

    def _check_hints(self, attempt: Attempt, started: float) -> None:
        """The invariant: no worker gets a request earlier than its Retry-After says."""
        if self._configuring[attempt.worker]:
            return
        worker, key, model = attempt.worker, attempt.key, attempt.model
        for scope in ((worker, None, None), (worker, key, None), (worker, key, model)):
            came, until = self._hints.get(scope, (0.0, 0.0))
            if came + INSTANT < started < until - INSTANT:
                self.record_violation(
                    f"{worker} got a request for {model} with {key} at {started:.3f}, "
                    f"although its Retry-After of {came:.3f} holds until {until:.3f}"
                )

    def _add_hint(self, attempt: Attempt, failure: Failure, now: float) -> None:
        scope: _Scope
        seconds = min(failure.retry_after or 0.0, LONGEST_COOLDOWN_SECONDS)
        if failure.kind in KINDS_OF_KEY_AND_MODEL:
            scope = (attempt.worker, attempt.key, attempt.model)
        elif failure.kind in KINDS_OF_KEY:
            scope = (attempt.worker, attempt.key, None)
            seconds = min(seconds, TRIAL_SECONDS)
        elif failure.kind in KINDS_OF_WORKER:
            scope = (attempt.worker, None, None)
        else:
            return
        until = now + seconds
        self.counts["Retry-After hints"] += 1
        if until > self._hints.get(scope, (0.0, 0.0))[1]:
            self._hints[scope] = (now, until)

    @contextmanager
    def configuring(self, *workers: str) -> Iterator[None]:
        """An operator checks or configures these workers. This ends their cooldowns, so their hints end as well."""
        self._configuring.update(workers)
        self.configured_at.append(trio.current_time())
        try:
            yield
        finally:
            self._configuring.subtract(workers)
            self.configured_at.append(trio.current_time())
            for scope in [scope for scope in self._hints if scope[0] in workers]:
                del self._hints[scope]

    # ---- the state of the gateway

    def sample(self, snapshot: Snapshot) -> None:
        """Add a sample for each worker whose state has changed."""
        now = trio.current_time()
        for worker in snapshot.workers:
            keys = snapshot.keys_of(worker.name)
            cooling = sum(_is_cooling_down(key, worker.models[0]) for key in keys)
            sample = WorkerSample(now, worker.status, worker.breaker.state, cooling, len(keys))
            lane = self.lanes.setdefault(worker.name, [])
            if not lane or attrs.evolve(lane[-1], at=now) != sample:
                lane.append(sample)


def _is_cooling_down(key: KeySnapshot, model: str) -> bool:
    return any(cooldown.model in (None, model) for cooldown in key.cooldowns)
