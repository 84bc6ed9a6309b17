"""The reaction of the gateway to each failure kind: one row per kind, for chat, complete and embed alike.

A row is data. `gateway.routing.plan` reads the first three columns (what may be asked next),
`gateway.workers.cooldowns` reads `cooldown`, and `gateway.workers.breaker` reads `weight`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from http import HTTPStatus

import attrs

from .kinds import Failure, FailureKind

K = FailureKind


class SameWorker(enum.Enum):
    """Whether the same call may use this worker again, with the same API key."""

    NEVER = "never"
    """No."""

    ONCE = "once"
    """Once, before other workers, after a short backoff."""

    AFTER_OTHERS = "after_others"
    """After a backoff, if no other worker is left."""

    AFTER_COOLDOWN = "after_cooldown"
    """When its cooldown has ended, if no other worker is left."""


class NextKey(enum.Enum):
    """Whether the same call may use another API key of this worker, before it uses another worker."""

    NO = "no"
    """No: the API key is not the cause."""

    ONCE = "once"
    """One other API key."""

    YES = "yes"
    """Every other API key."""


class NextWorker(enum.Enum):
    """Whether the same call may fail over to another worker."""

    NO = "no"
    """No: the call ends with this failure."""

    LARGER = "larger"
    """Only to a worker with a larger context window."""

    YES = "yes"
    """To any worker."""


class Scope(enum.Enum):
    """What a cooldown applies to."""

    WORKER = "worker"
    """A worker."""

    MODEL = "model"
    """One model of a worker."""

    KEY = "key"
    """One API key."""

    KEY_MODEL = "key_model"
    """One API key, for one model only."""


MINUTE = 60.0
DOUBLING_SECONDS = (MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 16 * MINUTE, 32 * MINUTE, 60 * MINUTE)
QUARTER_HOUR_SECONDS = (15 * MINUTE, 30 * MINUTE, 60 * MINUTE)
RATE_LIMIT_BACKOFF_SECONDS = (10.0, 30.0, 60.0, 120.0)
IMMEDIATELY = (0.0,)
LONGEST_COOLDOWN = 60 * MINUTE
"""Seconds. A longer time that a server names is cut to this one."""


@attrs.frozen
class CooldownRule:
    """The length of a cooldown. The n-th failure in a row takes the n-th number, or the last one."""

    scope: Scope
    """What the cooldown applies to."""

    seconds: tuple[float, ...]
    """The length in seconds, if the server named no time."""

    trial_seconds: tuple[float, ...]
    """Seconds after which one request is let through as a trial, if no other worker can serve.

    0 marks a suspected cooldown: what it applies to is used last instead of not at all.
    """


@attrs.frozen
class Reaction:
    """One row of the table: the reaction to one failure kind."""

    same_worker: SameWorker
    """Whether the same call may use this worker again."""

    next_key: NextKey
    """Whether it may use another API key of this worker."""

    next_worker: NextWorker
    """Whether it may fail over to another worker."""

    weight: float = 0.0
    """How much the failure counts in the worker's breaker: 1, 0.5, or 0 for nothing."""

    cooldown: CooldownRule | None = None
    """The cooldown that begins. None: one for the worker, only if the server named a time."""


_NO_HELP = Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.NO)
_OTHER_KEY = (SameWorker.NEVER, NextKey.YES, NextWorker.YES)

REACTIONS: Mapping[FailureKind, Reaction] = {
    K.BAD_REQUEST: _NO_HELP,
    K.CONTEXT_LENGTH: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.LARGER),
    K.CONTENT_POLICY: _NO_HELP,
    K.CREDENTIAL: Reaction(
        *_OTHER_KEY, cooldown=CooldownRule(Scope.KEY, QUARTER_HOUR_SECONDS, DOUBLING_SECONDS)
    ),
    K.PERMISSION: Reaction(
        *_OTHER_KEY, cooldown=CooldownRule(Scope.KEY_MODEL, DOUBLING_SECONDS, DOUBLING_SECONDS)
    ),
    K.QUOTA: Reaction(*_OTHER_KEY, cooldown=CooldownRule(Scope.KEY, QUARTER_HOUR_SECONDS, DOUBLING_SECONDS)),
    K.RATE_LIMIT: Reaction(
        SameWorker.AFTER_COOLDOWN,
        NextKey.YES,
        NextWorker.YES,
        cooldown=CooldownRule(Scope.KEY_MODEL, RATE_LIMIT_BACKOFF_SECONDS, IMMEDIATELY),
    ),
    K.OVERLOADED: Reaction(SameWorker.AFTER_OTHERS, NextKey.NO, NextWorker.YES, weight=1),
    K.SERVER: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=1),
    K.STALLED: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES, weight=1),
    K.TRUNCATED: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=1),
    K.PROTOCOL: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=1),
    K.EMPTY: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=1),
    K.MODEL_NOT_FOUND: Reaction(
        SameWorker.NEVER,
        NextKey.ONCE,
        NextWorker.YES,
        cooldown=CooldownRule(Scope.MODEL, DOUBLING_SECONDS, DOUBLING_SECONDS),
    ),
    K.REGION: Reaction(
        SameWorker.NEVER,
        NextKey.NO,
        NextWorker.YES,
        cooldown=CooldownRule(Scope.WORKER, DOUBLING_SECONDS, DOUBLING_SECONDS),
    ),
    K.EDGE: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=0.5),
    K.CONNECTION: Reaction(SameWorker.AFTER_OTHERS, NextKey.NO, NextWorker.YES, weight=1),
    K.CRASHED: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES),
    K.UNKNOWN: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES, weight=0.5),
    K.CANCELLED: _NO_HELP,
}
"""The table. Every failure kind has a row. The rows are in the order in which failures say most about their cause."""

PRIMARY_ORDER: tuple[FailureKind, ...] = tuple(REACTIONS)
"""Of several failures, the first in this order is `AllWorkersFailed.primary`."""

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
