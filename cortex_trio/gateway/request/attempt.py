"""One attempt: one request to one worker with one key, from the permit to the record in the ledger.

    OpenAttempt ── opening   connect, send, status and headers
         │  └───── reading   deadlines, commit point ── decoding   bytes to events
         └──────── admission, given back with the result

An `OpenAttempt` is open under `async with`, in the task that reads it: no task and no cancel scope of ours outlives a
method. Leaving it settles the permit and the lease, writes the one record of this attempt and closes the socket,
whatever happened, cancellation included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Self, final

import trio

from ...costs import Priced, cost_of, own_price
from ...events import Attempt, WireEvent
from ...failures import Failure, FailureKind, scrub
from ...failures.kinds import plain
from ...telemetry import AttemptStarted, FirstToken
from ..routing.eligibility import Candidate
from ..settings.secrets import ApiKey
from ..transport.response import Response
from .opening import check_status, decoder_for, record_rate_limit, send_request
from .prepared import AttemptFailed, PreparedAttempt
from .reading import ResponseReader

ID_LIMIT = 200
"""Characters of an id or a name that the provider gave that are kept."""


@final
class OpenAttempt:
    """An attempt that is open. Entering it sends the request and waits for the first content.

    Args:
        attempt: what to send, and to which worker.
        record: takes the record of this attempt, once, when it is over.

    Attributes:
        held: the events up to the first content; `receive` returns those behind them.
        lost_hedge: another attempt of the call answered first.
    """

    def __init__(self, attempt: PreparedAttempt, record: Callable[[Attempt], None]) -> None:
        self.held: list[WireEvent] = []
        self.lost_hedge = False
        self._attempt = attempt
        self._record = record
        self._response: Response | None = None  # None before the headers are here
        self._reader: ResponseReader | None = None  # None before a response with a good status is here
        self._failure: Failure | None = None
        self._closed = False
        self._started = datetime.now(UTC)

    @property
    def candidate(self) -> Candidate:
        """The worker that was asked, as it was configured then."""
        return self._attempt.candidate

    @property
    def key(self) -> ApiKey | None:
        """The API key it was asked with; None for a worker without keys."""
        return self._attempt.key

    @property
    def finished(self) -> bool:
        """The answer is whole: Finished is among the events returned, and nothing more will come."""
        return self._reader is not None and self._reader.finished

    # -------------------------------------------------------------- opening

    async def __aenter__(self) -> Self:
        """Send the request and wait for the first content.

        Raises:
            AttemptFailed: there is none.
        """
        try:
            self._report_start()
            await self._open()
        except BaseException as error:
            self._note(error)
            await self.aclose()
            raise
        return self

    def _report_start(self) -> None:
        attempt = self._attempt
        telemetry = attempt.runtime.telemetry
        if telemetry.observers:
            origin = attempt.candidate.endpoint.connections.origin
            started = AttemptStarted(
                call=attempt.call,
                number=attempt.number,
                worker=attempt.candidate.state.name,
                provider=attempt.provider,
                model=attempt.candidate.model,
                server_address=origin.host,
                server_port=origin.port,
                key=attempt.key.masked if attempt.key else None,
                at=self._started,
            )
            telemetry.emit(started)

    async def _open(self) -> None:
        attempt = self._attempt
        if own_price(self._priced, attempt.runtime.config.prices) is None:
            attempt.runtime.prices_needed.set()
        self._response = await send_request(attempt)
        await check_status(attempt, self._response)
        record_rate_limit(attempt, self._response)
        self._reader = ResponseReader(attempt, self._response, decoder_for(attempt, self._response))
        self.held = await self._reader.read_until_content()
        seconds = self._reader.first_token_after
        if seconds is not None:
            attempt.admission.content_came(attempt.runtime)
            telemetry = attempt.runtime.telemetry
            if telemetry.observers:
                worker = attempt.candidate.state.name
                telemetry.emit(FirstToken(attempt.call, attempt.number, worker, seconds))

    # -------------------------------------------------------------- reading

    async def receive(self) -> list[WireEvent]:
        """Return the next events, at least one; the last of all is Finished, and [] stands behind it.

        Cancelled, it loses no event: the attempt can be read on.

        Raises:
            AttemptFailed: the answer breaks off here.
        """
        assert self._reader is not None  # it is open
        try:
            return await self._reader.receive()
        except AttemptFailed as failed:
            self._note(failed)
            raise

    def _note(self, error: BaseException) -> None:
        if isinstance(error, AttemptFailed):
            self._failure = error.failure

    # -------------------------------------------------------------- closing

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Settle and close, once. The first part is synchronous: cancellation cannot come between."""
        if self._closed:
            return
        self._closed = True
        if self._failure is None and not self.finished:
            left_because = "another worker answered first" if self.lost_hedge else "the caller left"
            self._failure = Failure(FailureKind.CANCELLED, left_because)
        try:
            self._settle()
            if self.finished and self._reader is not None:
                await self._reader.drain()
        finally:
            if self._response is not None:
                await self._response.aclose()  # it shields itself, for a short time

    def _settle(self) -> None:
        """Give back the permit and the lease with the result, and write the record."""
        attempt, reader = self._attempt, self._reader
        limits = None
        if self._response is not None:
            # Only these are kept: any other header may repeat the key.
            headers = self._response.headers.items()
            limits = {name: text for name, text in headers if name == "date" or "ratelimit" in name}
        first_token_after = reader.first_token_after if reader is not None else None
        attempt.admission.settle(
            attempt.runtime, self._failure, time_to_first_token=first_token_after, headers=limits
        )
        record = self._made_record(first_token_after)
        self._record(record)
        attempt.runtime.activity.attempt_ended(record, trio.current_time())
        if attempt.runtime.telemetry.observers:
            attempt.runtime.telemetry.emit(record)

    def _made_record(self, first_token_after: float | None) -> Attempt:
        attempt, reader, response = self._attempt, self._reader, self._response
        started = reader.started if reader is not None else None
        usage = reader.usage if reader is not None else None
        return Attempt(
            number=attempt.number,
            worker=attempt.candidate.state.name,
            provider=attempt.provider,
            model=attempt.candidate.model,
            key=attempt.key.masked if attempt.key else None,
            failure=self._failure,
            duration=trio.current_time() - attempt.started,
            time_to_first_token=first_token_after,
            usage=usage,
            cost=cost_of(usage, self._priced, attempt.runtime.config.prices),
            call=attempt.call,
            status=response.status if response is not None else None,
            request_id=_request_id(response.headers, attempt.key) if response is not None else None,
            response_id=_provider_text(started.id, attempt.key) if started is not None else None,
            response_model=_provider_text(started.model, attempt.key) if started is not None else None,
            finish_reason=reader.finish_reason if reader is not None else None,
            chunks=reader.chunks if reader is not None else 0,
            reused=attempt.progress.reused,
            lost_hedge=self.lost_hedge,
            started=self._started,
        )

    @property
    def _priced(self) -> Priced:
        attempt = self._attempt
        return Priced(
            attempt.candidate.state.name,
            attempt.provider,
            attempt.candidate.model,
            attempt.candidate.endpoint.config.address,
            self._started,
        )


def _request_id(headers: Mapping[str, str], key: ApiKey | None) -> str | None:
    """Return the provider's id of the request; None if there is none."""
    return _provider_text(headers.get("x-request-id") or headers.get("request-id"), key)


def _provider_text(found: str | None, key: ApiKey | None) -> str | None:
    """Return an id or a name that the provider gave, without what repeats the key; None for none."""
    if not found:
        return None
    return plain(scrub(found, (key.reveal(),) if key else ()), ID_LIMIT) or None
