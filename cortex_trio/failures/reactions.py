"""The failure kinds, and the reaction of the gateway to each: one row per kind, for chat, complete and embed alike.

To add a kind, add its member to `FailureKind` and its row to `REACTIONS`, both here. This file imports nothing of ours.

A row is data. `gateway.routing.plan` reads the first three columns (what may be asked next),
`gateway.workers.cooldowns` reads `cooldown`, and `gateway.workers.breaker` reads `weight`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs


class FailureKind(str, enum.Enum):
    """What a failure proves. `REACTIONS` has the gateway's reaction to each kind."""

    CONTEXT_LENGTH = "context_length"
    """The request is longer than the model's context window."""

    CONTENT_POLICY = "content_policy"
    """The provider refused the request because of its content."""

    BAD_REQUEST = "bad_request"
    """The provider rejected the request as invalid."""

    CREDENTIAL = "credential"
    """The API key is wrong, expired or disabled."""

    PERMISSION = "permission"
    """The API key may not use this model or this function."""

    QUOTA = "quota"
    """The account has no credit left, or has reached a limit that lasts a day or longer."""

    RATE_LIMIT = "rate_limit"
    """Too many requests or tokens within a short time."""

    OVERLOADED = "overloaded"
    """The provider has too little capacity at the moment."""

    SERVER = "server"
    """The provider failed with an error of its own (5xx)."""

    CONNECTION = "connection"
    """No connection to the provider, or it was lost."""

    STALLED = "stalled"
    """The first token did not arrive in time, or the stream paused for too long."""

    PROTOCOL = "protocol"
    """The response is not what the dialect allows: malformed, too long, or not the dialect at all."""

    TRUNCATED = "truncated"
    """The stream ended without its end marker."""

    EMPTY = "empty"
    """The answer is complete and has no content."""

    MODEL_NOT_FOUND = "model_not_found"
    """The provider does not have this model."""

    REGION = "region"
    """The provider does not serve this country."""

    EDGE = "edge"
    """A proxy in front of the provider responded with a web page."""

    CRASHED = "crashed"
    """An actor of the gateway ended during the attempt, or a dialect raised an exception: a bug."""

    CANCELLED = "cancelled"
    """The caller left or was cancelled, or its deadline passed."""

    UNKNOWN = "unknown"
    """None of the others."""


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
"""The table. Every failure kind has a row; of several failures of one call, the first row says most about the cause."""

PRIMARY_ORDER: tuple[FailureKind, ...] = tuple(REACTIONS)
"""The failure kinds in the order of the rows: the first one is `AllWorkersFailed.primary`."""
