"""What each kind of failure makes the gateway do: one row per kind, for chat, complete and embed alike.

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
    """May the same call ask this worker again, with the same key?"""

    NEVER = "never"
    ONCE = "once"  # at once, after a short pause, if nothing was delivered
    AFTER_OTHERS = "after_others"  # after a pause, when no other worker is left to ask
    AFTER_COOLDOWN = "after_cooldown"  # when its cooldown has ended, if no other worker is left to ask


class NextKey(enum.Enum):
    """May another key of this worker help?"""

    NO = "no"
    ONCE = "once"
    YES = "yes"  # and before any other worker is asked


class NextWorker(enum.Enum):
    """May another worker help?"""

    NO = "no"  # the error is the caller's answer
    LARGER = "larger"  # only one with a larger context window
    YES = "yes"


class Scope(enum.Enum):
    """What a cooldown keeps from being asked."""

    WORKER = "worker"
    MODEL = "model"  # of one worker
    KEY = "key"
    KEY_MODEL = "key_model"  # one key for one model


MINUTE = 60.0
DOUBLING = (MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE, 16 * MINUTE, 32 * MINUTE, 60 * MINUTE)
QUARTER_HOUR = (15 * MINUTE, 30 * MINUTE, 60 * MINUTE)
RATE_LIMIT_BACKOFF_SECONDS = (10.0, 30.0, 60.0, 120.0)
AT_ONCE = (0.0,)
LONGEST_COOLDOWN = 60 * MINUTE
"""Seconds. A server that asks for more is asked again after an hour."""


@attrs.frozen
class CooldownRule:
    """How long something is not asked. The n-th failure in a row counts the n-th number, or the last.

    `seconds` is the cooldown when the server named no time. `trial_seconds` is the time after which one request may
    try whether it works again, if nothing else can serve: 0 means that the cooldown is a guess, and what it covers is
    asked last instead of never.
    """

    scope: Scope
    seconds: tuple[float, ...]
    trial_seconds: tuple[float, ...]


@attrs.frozen
class Reaction:
    """One row. `weight` is what the failure counts in the worker's breaker: 1, a half, or nothing."""

    same_worker: SameWorker
    next_key: NextKey
    next_worker: NextWorker
    weight: float = 0.0
    cooldown: CooldownRule | None = None


_NO_HELP = Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.NO)
_OTHER_KEY = (SameWorker.NEVER, NextKey.YES, NextWorker.YES)

REACTIONS: Mapping[FailureKind, Reaction] = {
    K.CONTEXT_LENGTH: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.LARGER),
    K.CONTENT_POLICY: _NO_HELP,
    K.BAD_REQUEST: _NO_HELP,
    K.CREDENTIAL: Reaction(*_OTHER_KEY, cooldown=CooldownRule(Scope.KEY, QUARTER_HOUR, DOUBLING)),
    K.PERMISSION: Reaction(*_OTHER_KEY, cooldown=CooldownRule(Scope.KEY_MODEL, DOUBLING, DOUBLING)),
    K.QUOTA: Reaction(*_OTHER_KEY, cooldown=CooldownRule(Scope.KEY, QUARTER_HOUR, DOUBLING)),
    K.RATE_LIMIT: Reaction(
        SameWorker.AFTER_COOLDOWN,
        NextKey.YES,
        NextWorker.YES,
        cooldown=CooldownRule(Scope.KEY_MODEL, RATE_LIMIT_BACKOFF_SECONDS, AT_ONCE),
    ),
    K.OVERLOADED: Reaction(SameWorker.AFTER_OTHERS, NextKey.NO, NextWorker.YES, weight=1),
    K.SERVER: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=1),
    K.CONNECTION: Reaction(SameWorker.AFTER_OTHERS, NextKey.NO, NextWorker.YES, weight=1),
    K.STALLED: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES, weight=1),
    K.PROTOCOL: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=1),
    K.TRUNCATED: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=1),
    K.EMPTY: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=1),
    K.MODEL_NOT_FOUND: Reaction(
        SameWorker.NEVER,
        NextKey.ONCE,
        NextWorker.YES,
        cooldown=CooldownRule(Scope.MODEL, DOUBLING, DOUBLING),
    ),
    K.REGION: Reaction(
        SameWorker.NEVER,
        NextKey.NO,
        NextWorker.YES,
        cooldown=CooldownRule(Scope.WORKER, DOUBLING, DOUBLING),
    ),
    K.EDGE: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, weight=0.5),
    K.CRASHED: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES),
    K.CANCELLED: _NO_HELP,
    K.UNKNOWN: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES, weight=0.5),
}
"""A kind without a cooldown of its own has one when the server named a time: the worker, for that time."""

ASKED_AGAIN_STATUSES = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}
"""4xx statuses that a second request may cure (RFC 9110 §15.5.9 and §15.5.10, RFC 8470; the official SDKs agree)."""
_SDK_KINDS = {K.OVERLOADED, K.SERVER, K.CONNECTION, K.RATE_LIMIT, K.TRUNCATED}


def same_worker_of(failure: Failure) -> SameWorker:
    """Return the table's answer, unless the provider's `x-should-retry` or a 408, 409 or 425 gives another."""
    reaction = REACTIONS[failure.kind]
    if failure.should_retry is False:
        return SameWorker.NEVER
    repeatable = reaction.next_key is NextKey.NO and failure.kind is not K.STALLED
    if failure.retry_after is not None and not reaction.weight:
        repeatable = False  # no cooldown would hold the call back until then
    asked = failure.should_retry is True or failure.status in ASKED_AGAIN_STATUSES
    if asked and repeatable and reaction.same_worker is SameWorker.NEVER:
        return SameWorker.ONCE
    return reaction.same_worker


def official_sdks_retry(failure: Failure) -> bool:
    """Return whether the official SDKs would send the request again: the gateway then does so too, at the least.

    They do after connection errors and the statuses 408, 409, 429 and 5xx (`_should_retry` in openai-python and
    anthropic-sdk-python). A response that ended before its first content counts as a connection error.
    """
    if same_worker_of(failure) is SameWorker.NEVER:
        return False
    if failure.should_retry is True:
        return True
    status = failure.status or 0
    if failure.kind is K.PROTOCOL and failure.phase in ("connect", "headers"):
        return True  # what came is no HTTP: httpx.RemoteProtocolError, a connection error to the SDKs
    return failure.kind in _SDK_KINDS or status >= 500 or status in ASKED_AGAIN_STATUSES


PRIMARY_ORDER: tuple[FailureKind, ...] = (
    K.BAD_REQUEST,
    K.CONTEXT_LENGTH,
    K.CONTENT_POLICY,
    K.CREDENTIAL,
    K.PERMISSION,
    K.QUOTA,
    K.RATE_LIMIT,
    K.OVERLOADED,
    K.SERVER,
    K.STALLED,
    K.TRUNCATED,
    K.PROTOCOL,
    K.EMPTY,
    K.MODEL_NOT_FOUND,
    K.REGION,
    K.EDGE,
    K.CONNECTION,
    K.CRASHED,
    K.UNKNOWN,
    K.CANCELLED,
)
"""Of several failures, the first of this order says most to the caller."""
