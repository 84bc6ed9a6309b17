"""One call: asks one worker after the other until one answers, and keeps the ledger of its attempts.

The rules are `plan.py`'s; here they are acted on. `Call.open` returns a stream at its commit point, so that everything
before it stays invisible to the user; after an interruption it is simply called again.
"""

from __future__ import annotations

import logging
from typing import final

import trio

from ...errors import ProviderError
from ...events import Attempt
from ...failures import CortexError, Failure, FailureKind, InvalidRequest
from ...otp.nursery import open_flat_nursery
from ...telemetry import CallWaiting, Waiting
from ...wire.codec import Decoder, HttpRequest
from ..routing.openings import Place
from ..routing.plan import Ask, Plan, Wait
from ..routing.selection import Candidate, Wanted, fixed_refusal, model_for
from ..runtime import Runtime
from ..settings.config import MOST_ATTEMPTS
from ..workers.dialect_guard import DialectFailed
from ..workers.worker import Refusal, WorkerState
from .admission import check_out
from .attempt import AttemptFailed, OpenAttempt, Timers
from .errors import all_failed, no_workers_available, reopens_after
from .jobs import Job, cannot_express, encode_request
from .options import CallOptions

log = logging.getLogger("cortex_trio")


@final
class Call:
    """One job on its way through the workers. Used by one task; `open` may be called again after a failure."""

    def __init__(self, runtime: Runtime, job: Job, wanted: Wanted, options: CallOptions) -> None:
        config, now = runtime.config, trio.current_time()
        self._job = job
        self.attempts: list[Attempt] = []
        self.errors: list[ProviderError] = []
        self._runtime = runtime
        self._options = options
        self._wanted = wanted
        self._invalid: InvalidRequest | None = None  # the first worker's reason why it cannot be asked this
        self._sent = 0  # attempts that were begun
        self._racers: list[OpenAttempt] = []  # of the race that runs, or ran last
        self._refusals: list[tuple[WorkerState, Refusal]] = []
        # The place this call was woken for, until it has used it or handed it on.
        self._place: Place | None = None
        self._until = now + config.total_timeout
        self._selection = runtime.select(wanted)
        runtime.budget.request(now)
        runtime.activity.calls += 1
        self._plan = Plan(
            self._selection,
            all_candidates=lambda: runtime.candidates(wanted),
            refusal=self._refusal,
            max_attempts=options.max_attempts or config.max_attempts,
            deadline=self._until,
            max_wait=config.max_wait if options.max_wait is None else options.max_wait,
            budget=runtime.budget,
            chance=runtime.random.random,
        )

    async def open(self) -> OpenAttempt:
        """Return a stream that has its first content. The caller closes it.

        Raises NoWorkersAvailable if no worker could be asked, ProviderError or AllWorkersFailed if all that
        could be asked failed, InvalidRequest if none of them has a way to say what the caller set.
        """
        # Each time anew: the caller may have opened under one deadline and read under another.
        self._plan.deadline = min(self._until, trio.current_effective_deadline())
        try:
            while step := self._plan.next(trio.current_time()):
                self._runtime.check_open()
                if isinstance(step, Wait):
                    await self._wait(step)
                    continue
                if step.wait:
                    self._hand_on()  # not kept from the others during a pause
                    await self._runtime.pause(step.wait)
                upstream = await (self._race(step) if self._options.hedge_after else self._ask(step))
                if upstream is not None:
                    return upstream
        finally:
            self._hand_on()
        # A call whose time is over ends with Cancelled, not with an error about workers.
        await trio.lowlevel.checkpoint()
        raise self._error()

    async def _wait(self, wait: Wait) -> None:
        """Wait until a worker may be asked, and choose again."""
        self._hand_on()
        runtime, started = self._runtime, trio.current_time()
        state, refusal, seconds = wait.candidate.state, wait.refusal, wait.until - started
        log.info("waiting up to %.1f s: %s %s", seconds, state.name, refusal.reason)
        runtime.telemetry.emit(CallWaiting(state.name, refusal.kind, seconds))
        with runtime.activity.wait(Waiting(state.name, refusal.kind, started, wait.until)):
            self._place = await runtime.openings.wait(wait.until, for_place=wait.for_place)
        self._selection = runtime.select(self._wanted, self._place)
        self._refusals.clear()
        self._plan.waited(trio.current_time() - started, self._selection)

    def _hand_on(self, *, used_by: str | None = None) -> None:
        """Hand the place that this call was woken for on to the next, unless a request to its worker has used it."""
        place, self._place = self._place, None
        if place is None:
            return
        if place.worker == used_by:
            self._runtime.openings.used(place)
        else:
            self._runtime.openings.hand_on(place)

    def change_job(self, job: Job) -> None:
        """Ask for something else from here on; a worker that refused only what was asked before may be asked again."""
        self._job = job
        self._plan.change()

    async def _race(self, ask: Ask) -> OpenAttempt | None:
        """Ask, and if no content came within `hedge_after` seconds ask the next worker as well.

        The first content wins; the other is cancelled, which closes its socket and enters it in the ledger.
        """
        winner: OpenAttempt | None = None
        racing = 0
        self._racers.clear()

        async def run(ask: Ask) -> None:
            nonlocal winner, racing
            racing += 1
            upstream = await self._ask(ask)
            racing -= 1
            if winner is not None:
                if upstream is not None:  # both came in the same moment
                    self._plan.lost(ask.candidate)
                    await upstream.aclose()
            elif upstream is not None or not racing:
                winner = upstream
                for racer in self._racers:
                    if racer is not winner:
                        racer.left_because = "another worker answered first"
                nursery.cancel_scope.cancel()

        try:
            async with open_flat_nursery() as nursery:
                nursery.start_soon(run, ask)
                await trio.sleep(self._options.hedge_after or 0)
                if second := self._plan.hedge(trio.current_time()):
                    nursery.start_soon(run, second)
        except BaseException:
            if winner is not None:
                await winner.aclose()
            raise
        return winner

    async def _ask(self, ask: Ask) -> OpenAttempt | None:
        """One attempt. None if there was no answer; the ledger and the plan know why."""
        candidate = self._current(ask.candidate)
        said = self._encode(candidate) if candidate is not None else None
        if candidate is None or said is None:
            return None
        admission = await check_out(self._runtime, candidate, ask.avoid)
        if isinstance(admission, Refusal):
            self._refuse(candidate, admission, for_good=admission.kind is FailureKind.CRASHED)
            return None
        self._hand_on(used_by=candidate.state.name)
        self._sent += 1
        timers = self._timers(candidate)
        upstream = OpenAttempt(
            self._runtime,
            candidate,
            self._job,
            *said,
            admission,
            timers,
            self._sent,
            self._record,
            fresh=ask.fresh,
        )
        self._racers.append(upstream)
        try:
            return await upstream.__aenter__()
        except AttemptFailed as failed:
            self.failed(candidate, upstream, failed.failure, cause=failed.cause, reused=failed.reused)
            return None
        except trio.Cancelled:
            self._plan.lost(candidate)
            raise

    def _current(self, candidate: Candidate) -> Candidate | None:
        """The candidate as a reload has left it; None if it does not serve what is wanted any more."""
        if candidate.is_current:
            return candidate
        state = candidate.state
        refusal = fixed_refusal(state, self._wanted)
        if refusal is not None:
            self._refuse(candidate, refusal, for_good=True)
            return None
        return Candidate(state, model_for(state, self._wanted))

    def _encode(self, candidate: Candidate) -> tuple[HttpRequest, Decoder] | None:
        """Return the request and the decoder of its answer; None if the candidate's dialect cannot express the job."""
        try:
            return encode_request(self._runtime.dialects, self._job, candidate)
        except InvalidRequest as error:
            self._invalid = self._invalid or error
            self._refuse(candidate, cannot_express(error), for_good=True)
        except DialectFailed as failed:
            self.failed(candidate, None, failed.failure, cause=failed.__cause__)
        return None

    def _timers(self, candidate: Candidate) -> Timers:
        config, options = self._runtime.config, self._options
        own = candidate.endpoint.timeout
        first_token, idle = options.first_token_timeout or own, options.idle_timeout or config.idle_timeout
        return Timers(
            connect=config.connect_timeout,
            first_token=first_token,
            idle=idle,
            content=config.content_timeout,
            until=self._until,
            first_token_is_ours=first_token < own,
            idle_is_ours=idle < config.idle_timeout,
        )

    # -------------------------------------------------------------- the ledger

    def failed(
        self,
        candidate: Candidate,
        upstream: OpenAttempt | None,
        failure: Failure,
        *,
        committed: bool = False,
        cause: BaseException | None = None,
        reused: bool = False,
    ) -> None:
        """Learn from an attempt that is over; `committed` if something of its answer was delivered."""
        key = upstream.key if upstream else None
        self._plan.learn(candidate, failure, key, committed=committed, reused=reused)
        error = ProviderError(failure, candidate.state.name)
        error.__cause__ = cause
        self.errors.append(error)

    def _refusal(self, candidate: Candidate, now: float) -> Refusal | None:
        return self._selection.refusal(candidate, now)  # which each wait replaces

    def _refuse(self, candidate: Candidate, refusal: Refusal, *, for_good: bool = False) -> None:
        self._plan.refuse(candidate, for_good=for_good, is_busy=refusal.has_place_later)
        self._refusals.append((candidate.state, refusal))

    def _record(self, attempt: Attempt) -> None:
        if len(self.attempts) < MOST_ATTEMPTS:
            self.attempts.append(attempt)
            self.attempts.sort(key=lambda attempt: attempt.number)  # hedged ones end out of turn

    # -------------------------------------------------------------- errors

    def _error(self) -> CortexError:
        now, runtime, selected = trio.current_time(), self._runtime, self._selection.whole()
        for error in self.errors:
            error.attempts = tuple(self.attempts)
        if self.errors:
            reopens = reopens_after(runtime.candidates(self._wanted), self._refusal, now)
            return all_failed(self.errors, self.attempts, reopens)
        reasons = [*selected.skipped, *self._refusals]
        return self._invalid or no_workers_available(
            runtime.table.workers.values(), self._wanted, reasons, now
        )
