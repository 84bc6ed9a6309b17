"""One call of `chat`, `complete` or `embed`: its id, the ledger of its attempts, and the events of its start and end.

Decides nothing and sends nothing. It is made when the call begins; `end` is called once on every exit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Literal, Self, final

import trio

from ...costs import Spending, budgets_in_force
from ...errors import AllWorkersFailed, ProviderError
from ...events import Attempt, FinishReason
from ...failures import CortexError, FailureKind
from ...telemetry import CallEnded, CallOutcome, CallStarted, Operation, OptionValue
from ..routing.eligibility import Criteria
from ..routing.plan import ABOUT_THE_REQUEST
from ..runtime import Runtime
from ..settings.config import MOST_ATTEMPTS


@final
class Call:
    """What is known of one call. Used by the tasks of this call only.

    Attributes:
        id: of the call; in its events, its reply and its errors.
        attempts: the records of the attempts that are over, in the order in which they began.
        spending: tokens and costs of all attempts that are over.
        begun: attempts that were begun.
        interruption: why the answer broke off after something was delivered, the last time; None: never.
        resumed: how it went on after that; None: it did not.
    """

    def __init__(
        self,
        runtime: Runtime,
        operation: Operation,
        criteria: Criteria,
        *,
        options: Mapping[str, OptionValue],
        tags: Mapping[str, str],
    ) -> None:
        """
        Args:
            runtime: the shared state.
            operation: the method that was called.
            criteria: which worker the caller named.
            options: what the caller has set, as in CallStarted. Needed only if there are observers.
            tags: of the caller.

        Raises:
            BudgetExceeded: a budget around the call is used up.
        """
        self._budgets = budgets_in_force()
        self.id = runtime.activity.next_call()
        self.attempts: list[Attempt] = []
        self.spending = Spending()
        self.begun = 0
        self.interruption: FailureKind | None = None
        self.resumed: Literal["restart", "continue"] | None = None
        self._runtime = runtime
        self._operation: Operation = operation
        self._tags = tags
        self._started = trio.current_time()
        self._first_content: float | None = None  # Trio time
        self._working = 0.0  # seconds in `work`
        self._outside = 0.0  # seconds of these in `outside`
        self._outside_since = 0.0  # Trio time
        self._depth = 0  # of `outside`: hedged attempts overlap
        self._ended = False
        if runtime.telemetry.observers:
            started = CallStarted(
                call=self.id,
                operation=operation,
                model=criteria.model,
                provider=criteria.provider,
                worker=criteria.worker,
                streamed=operation == "chat",
                options=options,
                tags=tags,
            )
            runtime.telemetry.emit(started)

    def record(self, attempt: Attempt) -> None:
        """Add an attempt that is over."""
        self.spending.add(attempt)
        for budget in self._budgets:
            budget.charge(attempt)
        if len(self.attempts) < MOST_ATTEMPTS:
            self.attempts.append(attempt)
            self.attempts.sort(key=lambda attempt: attempt.number)  # hedged attempts may end in another order

    # -------------------------------------------------------------- time

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count the time of the block as the gateway's own, but for what `outside` excludes."""
        started = trio.current_time()
        try:
            yield
        finally:
            self._working += trio.current_time() - started

    @contextmanager
    def outside(self) -> Iterator[None]:
        """Do not count the time of the block: an attempt is open, or the call waits. Blocks may overlap."""
        self._depth += 1
        if self._depth == 1:
            self._outside_since = trio.current_time()
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._outside += trio.current_time() - self._outside_since

    @property
    def overhead(self) -> float:
        """Seconds of the gateway's own so far, without those in which an attempt was open or the call waited."""
        return max(0.0, self._working - self._outside)

    def content_came(self) -> None:
        """Note that an attempt has its first content."""
        if self._first_content is None:
            self._first_content = trio.current_time()

    # -------------------------------------------------------------- the end

    def end(self, error: BaseException | None = None, *, finish: FinishReason | None = None) -> None:
        """Report the end of a chat: served if there is a finish. All but the first call of this method do nothing.

        Args:
            error: what the caller receives. None: nothing.
            finish: why the model stopped; None if the answer is not complete.
        """
        self._end("cancelled" if finish is None else "served", error, finish)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Report the end of a call that the block has served, unless it raises."""
        self._end("served" if error is None else "cancelled", error, None)

    def _end(self, outcome: CallOutcome, error: BaseException | None, finish: FinishReason | None) -> None:
        if self._ended:
            return
        self._ended = True
        runtime, kind = self._runtime, _cause_of(error)
        if isinstance(error, CortexError) and kind is not None and kind not in ABOUT_THE_REQUEST:
            runtime.event_log.call_failed(self.id, error, kind, now=trio.current_time())
        telemetry = runtime.telemetry
        if telemetry.observers:
            if isinstance(error, CortexError):
                outcome = "failed"
            telemetry.emit(self._ended_with(outcome, error, finish))

    def _ended_with(
        self, outcome: CallOutcome, error: BaseException | None, finish: FinishReason | None
    ) -> CallEnded:
        last, first = self._last(), self._first_content
        return CallEnded(
            call=self.id,
            operation=self._operation,
            outcome=outcome,
            worker=last.worker if last else None,
            provider=last.provider if last else None,
            model=last.model if last else None,
            attempts=tuple(self.attempts),
            failure=_cause_of(error),
            error=type(error).__name__ if isinstance(error, CortexError) else None,
            finish_reason=finish,
            interruption=self.interruption,
            resumed=self.resumed,
            usage=self.spending.usage,
            cost=self.spending.cost,
            seconds=trio.current_time() - self._started,
            time_to_first_token=None if first is None else first - self._started,
            overhead=self.overhead,
            tags=self._tags,
        )

    def _last(self) -> Attempt | None:
        """Return the attempt that served, else the last one that did not lose a race."""
        own = [attempt for attempt in self.attempts if not attempt.lost_hedge]
        served = [attempt for attempt in own if attempt.failure is None]
        found = served or own or self.attempts
        return found[-1] if found else None


def _cause_of(error: BaseException | None) -> FailureKind | None:
    match error:
        case AllWorkersFailed(primary=primary):
            return primary.failure.kind
        case ProviderError(failure=failure):
            return failure.kind
        case _:
            return None
