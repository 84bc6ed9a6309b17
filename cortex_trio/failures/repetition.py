"""Whether a failed request may be repeated with the same worker: by the table, and by what the response says. Pure."""

from __future__ import annotations

from http import HTTPStatus

from .kinds import Failure
from .reactions import REACTIONS, NextKey, SameWorker
from .reactions import FailureKind as K

REPEATABLE_STATUSES = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}
"""4xx statuses after which the same request may succeed (RFC 9110 §15.5.9, §15.5.10; RFC 8470; the official SDKs)."""

_SDK_KINDS = {K.OVERLOADED, K.SERVER, K.CONNECTION, K.RATE_LIMIT, K.TRUNCATED}


def same_worker_of(failure: Failure) -> SameWorker:
    """Return whether the same call may use the same worker again.

    That is the table's column, unless the provider's `x-should-retry` or a status 408, 409 or 425 says otherwise.

    Args:
        failure: Why the last attempt with the worker failed.
    """
    reaction = REACTIONS[failure.kind]
    if failure.should_retry is False:
        return SameWorker.NEVER
    may_repeat = reaction.next_key is NextKey.NO and failure.kind is not K.STALLED
    if failure.retry_after is not None and not reaction.weight:
        may_repeat = False  # without a breaker weight nothing delays the call until then
    is_invited = failure.should_retry is True or failure.status in REPEATABLE_STATUSES
    if is_invited and may_repeat and reaction.same_worker is SameWorker.NEVER:
        return SameWorker.ONCE
    return reaction.same_worker


def official_sdks_retry(failure: Failure) -> bool:
    """Return whether the official SDKs would retry after this failure. The gateway then retries at least as often.

    They retry after connection errors and the statuses 408, 409, 429 and 5xx (`_should_retry` in openai-python and
    anthropic-sdk-python). A response that ended before its first content counts as a connection error.

    Args:
        failure: Why the attempt failed.
    """
    if same_worker_of(failure) is SameWorker.NEVER:
        return False
    if failure.should_retry is True:
        return True
    status = failure.status or 0
    if failure.kind is K.PROTOCOL and failure.phase in ("connect", "headers"):
        return True  # not HTTP: httpx.RemoteProtocolError, which the SDKs treat as a connection error
    return failure.kind in _SDK_KINDS or status >= 500 or status in REPEATABLE_STATUSES
