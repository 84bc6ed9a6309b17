"""One call: asks one worker after the other until one answers, and keeps the ledger of its attempts.

The decisions are made in `routing.plan`; here they are carried out. `Failover.open` returns an attempt at its commit
point, so that everything before it stays invisible to the user. After an interruption it is called again.
"""

from __future__ import annotations

import logging
from typing import final

import attrs
import trio

from ...errors import ProviderError
from ...failures import CortexError, Failure, FailureKind, InvalidRequest
from ...telemetry import CallWaiting, Waiting
from ...wire.codec import Decoder, Dialect, HttpRequest
from ..routing.eligibility import Candidate, Criteria, configuration_refusal, model_for
from ..routing.plan import Ask, FailoverPlan, Wait
from ..runtime import Runtime
from ..settings.secrets import ApiKey
from ..workers.dialect_guard import DialectFailed
from ..workers.endpoint import Endpoint
from ..workers.worker import Refusal, WorkerState
from .admission import check_out
from .attempt import OpenAttempt
from .call import Call
from .candidates import CallCandidates
from .errors import all_failed, no_workers_available, reopens_after
from .hedging import Race
from .jobs import Job, cannot_express, encode_request
from .options import CallLimits
from .prepared import AttemptFailed, PreparedAttempt
from .timeouts import REASONING_SECONDS, Timeouts

log = logging.getLogger("cortex_trio")


@final
class Failover:
    """The attempts of one call. Used by one task; `open` may be called again after a failure.

    Args:
        runtime: the shared state.
        call: takes the records of the attempts.
        job: what is asked for.
        criteria: which workers may be asked.
        limits: what the caller has set; the configuration decides the others.

    Raises:
        trio.ClosedResourceError: the gateway is being left.
    """

    def __init__(
        self, runtime: Runtime, call: Call, job: Job, criteria: Criteria, limits: CallLimits
    ) -> None:
        runtime.check_open()
        config, now = runtime.config, trio.current_time()
        self._runtime = runtime
        self._call = call
        self._job = job
        self._criteria = criteria
        self._limits = limits
        self._errors: list[ProviderError] = []
        self._invalid: InvalidRequest | None = None  # why the first worker cannot be asked this
        self._refusals: list[tuple[WorkerState, Refusal]] = []  # since the last wait
        self._until = now + config.total_timeout  # Trio time
        self._adapted: dict[tuple[Endpoint, str], Dialect] = {}  # by model, see `_adapt`
        self._candidates = CallCandidates(runtime, criteria)
        runtime.budget.request(now)
        runtime.activity.calls += 1
        self._plan = FailoverPlan(
            self._candidates,
            max_attempts=limits.max_attempts or config.max_attempts,
            deadline=self._until,
            max_wait=config.max_wait if limits.max_wait is None else limits.max_wait,
            budget=runtime.budget,
            chance=runtime.random.random,
        )

    async def open(self) -> OpenAttempt:
        """Return an attempt that has its first content. The caller closes it.

        Cancelled, it closes what it has opened.

        Raises:
            NoWorkersAvailable: no worker could be asked.
            ProviderError: the only attempt failed.
            AllWorkersFailed: several attempts failed.
            InvalidRequest: no worker that could be asked can express what the caller set.
            trio.ClosedResourceError: the gateway is being left.
        """
        # Each time anew: the caller may have opened under one deadline and read under another.
        self._plan.deadline = min(self._until, trio.current_effective_deadline())
        try:
            with self._call.work():
                while step := self._plan.next(trio.current_time()):
                    self._runtime.check_open()
                    if isinstance(step, Wait):
                        await self._wait(step)
                    elif attempt := await self._ask_or_race(step):
                        self._call.content_came()
                        return attempt
                error = self._error()
        finally:
            self._hand_on_permit()
        try:
            # A call whose time is over ends with Cancelled, not with an error about workers.
            await trio.lowlevel.checkpoint()
            raise error
        finally:
            del error  # its traceback holds this frame: a circle

    def change_job(self, job: Job) -> None:
        """Ask for something else from here on; a worker that refused only the old request may be asked again."""
        self._job = job
        self._plan.reset_request_failures()

    def interrupted(self, attempt: OpenAttempt, failed: AttemptFailed, *, committed: bool) -> None:
        """Record that an attempt has failed behind its commit point.

        Args:
            attempt: the attempt.
            failed: what it proved.
            committed: something of its answer was delivered to the user.
        """
        self._plan.learn(attempt.candidate, failed.failure, attempt.key, committed=committed)
        self._add_error(attempt.candidate, failed)

    # -------------------------------------------------------------- waiting

    async def _wait(self, wait: Wait) -> None:
        """Wait until a worker may be asked."""
        self._hand_on_permit()
        runtime, started = self._runtime, trio.current_time()
        state, refusal, seconds = wait.candidate.state, wait.refusal, wait.until - started
        runtime.event_log.waiting(
            self._call.id, state.name, refusal.reason, refusal.kind, seconds, now=started
        )
        if runtime.telemetry.observers:
            runtime.telemetry.emit(CallWaiting(state.name, refusal.kind, seconds, call=self._call.id))
        waiting = Waiting(state.name, refusal.kind, started, wait.until)
        with runtime.activity.wait(waiting), self._call.outside():
            self._candidates.permit = await runtime.wait_queue.wait(wait.until, for_permit=wait.for_permit)
        runtime.check_open()
        self._refusals.clear()
        self._plan.waited(trio.current_time() - started)

    def _hand_on_permit(self, *, used_by: str | None = None) -> None:
        """Hand the permit that this call was woken for on to the next, unless a request to its worker has used it."""
        permit, self._candidates.permit = self._candidates.permit, None
        if permit is None:
            return
        if permit.worker == used_by:
            self._runtime.wait_queue.used(permit)
        else:
            self._runtime.wait_queue.hand_on(permit)

    # -------------------------------------------------------------- asking

    async def _ask_or_race(self, ask: Ask) -> OpenAttempt | None:
        if ask.pause:
            self._hand_on_permit()  # not kept from the others during a pause
            with self._call.outside():
                await self._runtime.pause(ask.pause)
        if self._limits.hedge_after is None:
            return await self._ask(ask)
        return await Race(self._plan, self._ask, self._limits.hedge_after).run(ask)

    async def _ask(self, ask: Ask, race: Race | None = None) -> OpenAttempt | None:
        """Make one attempt. Returns None if there was no answer; the ledger and the plan know why."""
        prepared = await self._prepare(ask)
        if prepared is None:
            return None
        self._log_failover(prepared.candidate)
        attempt = OpenAttempt(prepared, self._call.record)
        if race is not None:
            race.begun.append(attempt)
        try:
            with self._call.outside():
                opened = await attempt.__aenter__()
        except AttemptFailed as failed:
            is_adapted = self._adapt(prepared, failed.failure)
            self._failed(prepared.candidate, failed, attempt.key, is_adapted=is_adapted)
            return None
        except trio.Cancelled:
            self._plan.record_hedge_loss(prepared.candidate)
            raise
        self._keep_adapted(prepared.candidate)
        return opened

    async def _prepare(self, ask: Ask) -> PreparedAttempt | None:
        """Encode the request, get a permit and a key. Returns None if the worker cannot be asked."""
        candidate = self._current(ask.candidate)
        encoded = self._encode(candidate) if candidate is not None else None
        if candidate is None or encoded is None:
            return None
        admission = await check_out(self._runtime, candidate, ask.avoid)
        if isinstance(admission, Refusal):
            self._refuse(candidate, admission, for_good=admission.kind is FailureKind.CRASHED)
            return None
        self._hand_on_permit(used_by=candidate.state.name)
        self._call.begun += 1
        request, decoder = encoded
        return PreparedAttempt(
            self._runtime,
            candidate,
            self._job,
            request,
            decoder,
            admission,
            self._timeouts(candidate),
            self._call.id,
            self._call.begun,
            ask.fresh,
        )

    def _current(self, candidate: Candidate) -> Candidate | None:
        """Return the candidate as a reload has left it; None if it does not meet the criteria any more."""
        if candidate.is_current:
            own = self._adapted.get((candidate.endpoint, candidate.model))
            return candidate if own is None else attrs.evolve(candidate, own_dialect=own)
        state = candidate.state
        refusal = configuration_refusal(state, self._criteria)
        if refusal is not None:
            self._refuse(candidate, refusal, for_good=True)
            return None
        return Candidate(state, model_for(state, self._criteria))

    def _encode(self, candidate: Candidate) -> tuple[HttpRequest, Decoder] | None:
        """Return the request and the decoder of its answer; None if the candidate's dialect cannot express the job."""
        try:
            return encode_request(self._runtime.dialects, self._job, candidate)
        except InvalidRequest as error:
            self._invalid = self._invalid or error
            self._refuse(candidate, cannot_express(error), for_good=True)
        except DialectFailed as bug:
            self._failed(candidate, AttemptFailed(bug.failure, bug.__cause__), None)
        return None

    def _adapt(self, prepared: PreparedAttempt, failure: Failure) -> bool:
        """Adapt the dialect for this call if the server does not know a field that it adds. Returns whether it did so.

        Other calls use it once the server has answered: the error may have been about another part of the request.
        """
        candidate, added = prepared.candidate, prepared.request.added
        adapted = self._runtime.dialects.adapted(prepared.provider, candidate.dialect, failure, added)
        if adapted is None:
            return False
        self._adapted[candidate.endpoint, candidate.model] = adapted
        return True

    def _keep_adapted(self, candidate: Candidate) -> None:
        own = candidate.own_dialect
        if own is not None and candidate.endpoint.learn(candidate.model, own):
            log.warning(
                "worker %s does not know a field that is sent to others; %s is asked without it",
                candidate.state.name,
                candidate.model,
            )

    def _timeouts(self, candidate: Candidate) -> Timeouts:
        config, limits = self._runtime.config, self._limits
        configured, while_reasoning = candidate.endpoint.timeout, None
        if self._job.is_whole(candidate):  # its first token comes with its last
            configured += config.content_timeout
        if self._job.reasons:
            configured = max(configured, REASONING_SECONDS)
            while_reasoning = None if limits.first_token_timeout else config.content_timeout
        first_token = limits.first_token_timeout or configured
        idle = limits.idle_timeout or config.idle_timeout
        return Timeouts(
            connect=config.connect_timeout,
            first_token=first_token,
            idle=idle,
            content=config.content_timeout,
            until=self._until,
            first_token_is_ours=first_token < configured,
            idle_is_ours=idle < config.idle_timeout,
            content_while_reasoning=while_reasoning,
        )

    # -------------------------------------------------------------- the ledger

    def _failed(
        self,
        candidate: Candidate,
        failed: AttemptFailed,
        key: ApiKey | None,
        *,
        is_adapted: bool = False,
    ) -> None:
        self._plan.learn(candidate, failed.failure, key, reused=failed.reused, is_adapted=is_adapted)
        self._add_error(candidate, failed)

    def _add_error(self, candidate: Candidate, failed: AttemptFailed) -> None:
        error = ProviderError(failed.failure, candidate.state.name)
        error.__cause__ = failed.cause
        self._errors.append(error)

    def _refuse(self, candidate: Candidate, refusal: Refusal, *, for_good: bool = False) -> None:
        self._plan.refuse(candidate, for_good=for_good, is_busy=refusal.until_request_ends)
        self._refusals.append((candidate.state, refusal))

    def _log_failover(self, candidate: Candidate) -> None:
        """Log that another worker is asked after a failure."""
        if self._errors and (last := self._errors[-1]).worker != candidate.state.name:
            log, now = self._runtime.event_log, trio.current_time()
            log.failover(self._call.id, last.worker, candidate.state.name, last.failure, now=now)

    def _error(self) -> CortexError:
        error = self._made_error()
        error.call = self._call.id
        return error

    def _made_error(self) -> CortexError:
        now, candidates = trio.current_time(), self._candidates
        if self._errors:
            for error in self._errors:
                error.attempts = tuple(self._call.attempts)
                error.call = self._call.id
            retry_after = reopens_after(candidates.all(), candidates.refusal, now)
            return all_failed(self._errors, self._call.attempts, retry_after)
        if self._invalid is not None:
            return self._invalid
        reasons = [*candidates.evaluate_all().skipped, *self._refusals]
        workers = self._runtime.table.workers.values()
        return no_workers_available(workers, self._criteria, reasons, now)
