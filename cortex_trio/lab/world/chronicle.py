"""What was seen of one life: a trace to compare, counts to add up, laws that were broken, and lanes to draw."""

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
from ...gateway.cortex import Cortex
from ...otp import Report, ReportKind
from ...telemetry import KeySnapshot, WorkerStatusChanged
from .people import Called

ABOUT_A_KEY_AND_A_MODEL = (FailureKind.RATE_LIMIT,)
ABOUT_A_KEY = (FailureKind.QUOTA,)
ABOUT_A_WORKER = (FailureKind.OVERLOADED, FailureKind.SERVER, FailureKind.EDGE)
LONGEST_COOLDOWN_SECONDS = 3600.0
"""No cooldown is longer: a hint of six hours is obeyed for one."""
TRIAL_SECONDS = 60.0
"""After a refusal that names a time, one request may try a minute later if no other worker can serve."""
_Place = tuple[str, str | None, str | None]
"""Worker, key, model; None: all of them."""
INSTANT = 1e-6
"""Seconds by which two sums of the same floats may differ."""


@attrs.frozen
class Sample:
    """How one worker is from `at` on."""

    at: float
    status: str
    breaker: str
    resting: int  # keys that are cooling down
    keys: int


@attrs.frozen
class Ended:
    """One attempt, and when it ended (Trio time)."""

    at: float
    attempt: Attempt

    @property
    def began(self) -> float:
        return self.at - self.attempt.duration


@attrs.frozen
class Mark:
    """Something that happened to `who` at a moment, or until `until`."""

    at: float
    who: str
    what: str
    until: float | None = None


@final
class Chronicle:
    """Writes down one life. `broken` says which laws were broken and how; it is empty after a good one."""

    def __init__(self, seed: int, *, keep: bool = False) -> None:
        self.seed = seed
        self.counts: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        self.broken: list[str] = []
        self.calls: list[Called] = []
        self.attempts: list[Attempt] = []
        self.ended: dict[
            str, list[Ended]
        ] = {}  # the attempts of each worker, in the order in which they ended
        self.touched: list[float] = []  # when a person had checked, reloaded or replaced something
        self.kills: list[tuple[float, str]] = []
        self.lanes: dict[str, list[Sample]] = {}
        self.marks: list[Mark] = []
        self.gave_up: BaseException | None = None
        self.lines: list[str] = []
        self._keep = keep
        self._digest = hashlib.sha256()
        self._hints: dict[_Place, tuple[float, float]] = {}  # who was told to wait → noted at, until
        self._configuring: Counter[str] = Counter()

    @property
    def digest(self) -> str:
        """A fingerprint of all that happened, in its order."""
        return self._digest.hexdigest()

    def trace(self, what: str) -> None:
        line = f"{trio.current_time()!r} {what}\n"
        self._digest.update(line.encode())
        if self._keep:
            self.lines.append(line)

    def inject(self, what: str) -> None:
        self.injected[what] += 1

    def mark(self, who: str, what: str, until: float | None = None) -> None:
        self.marks.append(Mark(trio.current_time(), who, what, until))
        self.trace(f"{what} {who}")

    def complain(self, what: str) -> None:
        """A law was broken."""
        self.broken.append(f"at {trio.current_time():.3f} s: {what}")
        self.trace(f"BROKEN {what}")

    def on_call(self, called: Called) -> None:
        self.trace(called.summary())
        self.counts["tool calls executed"] += len(called.heard) if called.results_sent else 0
        self.counts["texts embedded"] += len(called.vectors)

    # ---- what the gateway tells

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
        self.ended.setdefault(attempt.worker, []).append(Ended(now, attempt))
        self.marks.append(Mark(now, attempt.worker, outcome))
        self._check_hints(attempt, now - attempt.duration)
        if failure is not None and failure.retry_after is not None:
            self._note_hint(attempt, failure, now)

    def _check_hints(self, attempt: Attempt, started: float) -> None:
        """No worker is asked earlier than its hint says."""
        if self._configuring[attempt.worker]:
            return
        worker, key, model = attempt.worker, attempt.key, attempt.model
        for place in ((worker, None, None), (worker, key, None), (worker, key, model)):
            noted, until = self._hints.get(place, (0.0, 0.0))
            if noted + INSTANT < started < until - INSTANT:
                self.complain(
                    f"{worker} was asked for {model} with {key} at {started:.3f}, though at {noted:.3f} "
                    f"it was told to wait until {until:.3f}"
                )

    def _note_hint(self, attempt: Attempt, failure: Failure, now: float) -> None:
        place: _Place
        seconds = min(failure.retry_after or 0.0, LONGEST_COOLDOWN_SECONDS)
        if failure.kind in ABOUT_A_KEY_AND_A_MODEL:
            place = (attempt.worker, attempt.key, attempt.model)
        elif failure.kind in ABOUT_A_KEY:
            place = (attempt.worker, attempt.key, None)
            seconds = min(seconds, TRIAL_SECONDS)
        elif failure.kind in ABOUT_A_WORKER:
            place = (attempt.worker, None, None)
        else:
            return
        until = now + seconds
        self.counts["waits named by providers"] += 1
        if until > self._hints.get(place, (0.0, 0.0))[1]:
            self._hints[place] = (now, until)

    @contextmanager
    def configuring(self, *workers: str) -> Iterator[None]:
        """A person checks these workers or configures them anew: that ends cooldowns early, so hints end with it."""
        self._configuring.update(workers)
        self.touched.append(trio.current_time())
        try:
            yield
        finally:
            self._configuring.subtract(workers)
            self.touched.append(trio.current_time())
            for place in [place for place in self._hints if place[0] in workers]:
                del self._hints[place]

    # ---- what is looked up

    def sample(self, cortex: Cortex) -> None:
        """Note the state of each worker that has changed."""
        snapshot, now = cortex.snapshot(), trio.current_time()
        for worker in snapshot.workers:
            keys = snapshot.keys_of(worker.name)
            resting = sum(_is_cooling_down(key, worker.models[0]) for key in keys)
            seen = Sample(now, worker.status, worker.breaker.state, resting, len(keys))
            lane = self.lanes.setdefault(worker.name, [])
            if not lane or attrs.evolve(lane[-1], at=now) != seen:
                lane.append(seen)


def _is_cooling_down(key: KeySnapshot, model: str) -> bool:
    """Whether the key cannot be used for `model` now."""
    return any(cooldown.model in (None, model) for cooldown in key.cooldowns)
