"""What each kind of failure makes us do: one row per kind, read by one failover loop for chat, complete and embed.

A row is data; the loop is `gateway.failover`, the resting is done by `gateway.keys` and `gateway.worker`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs

from .kinds import FailureKind

K = FailureKind


class SameWorker(enum.Enum):
    """May this worker be asked again, by the same call, with the same key?"""

    NEVER = "never"
    ONCE = "once"  # after a full-jitter pause, before anything was delivered
    AFTER_BACKOFF = "after_backoff"
    AFTER_HINT = "after_hint"  # only if the Retry-After fits the deadline and nobody else can serve


class NextKey(enum.Enum):
    """May another key of this worker help?"""

    NO = "no"
    ONCE = "once"
    YES = "yes"  # and before any other worker is asked


class NextWorker(enum.Enum):
    NO = "no"  # the error is the caller's answer
    LARGER = "larger"  # only one with a larger context window
    YES = "yes"


class Rest(enum.Enum):
    """Who stays away after it."""

    NOTHING = "nothing"
    KEY = "key"  # until the configuration changes or a free probe accepts it
    KEY_QUOTA = "key_quota"  # 15 min, doubling to 1 h, unless a hint says otherwise
    KEY_MODEL = "key_model"  # this key for this model: for the hint, else up a ladder
    KEY_MODEL_FOR_GOOD = "key_model_for_good"  # this key for this model, until the configuration changes
    BREAKER = "breaker"  # counts against the worker
    BREAKER_HALF = "breaker_half"  # counts half: it may be our own doing
    MODEL = "model"  # this worker for this model, until the configuration changes
    PROVIDER = "provider"  # the whole worker, until the configuration changes


@attrs.frozen
class Reaction:
    same_worker: SameWorker
    next_key: NextKey
    next_worker: NextWorker
    rest: Rest


REACTIONS: Mapping[FailureKind, Reaction] = {
    K.CONTEXT_LENGTH: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.LARGER, Rest.NOTHING),
    K.CONTENT_POLICY: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.NO, Rest.NOTHING),
    K.BAD_REQUEST: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.NO, Rest.NOTHING),
    K.CREDENTIAL: Reaction(SameWorker.NEVER, NextKey.YES, NextWorker.YES, Rest.KEY),
    K.PERMISSION: Reaction(SameWorker.NEVER, NextKey.YES, NextWorker.YES, Rest.KEY_MODEL_FOR_GOOD),
    K.QUOTA: Reaction(SameWorker.NEVER, NextKey.YES, NextWorker.YES, Rest.KEY_QUOTA),
    K.RATE_LIMIT: Reaction(SameWorker.AFTER_HINT, NextKey.YES, NextWorker.YES, Rest.KEY_MODEL),
    K.OVERLOADED: Reaction(SameWorker.AFTER_BACKOFF, NextKey.NO, NextWorker.YES, Rest.BREAKER),
    K.SERVER: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, Rest.BREAKER),
    K.CONNECTION: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES, Rest.BREAKER),
    K.STALLED: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES, Rest.BREAKER),
    K.PROTOCOL: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, Rest.BREAKER),
    K.TRUNCATED: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, Rest.BREAKER),
    K.EMPTY: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, Rest.BREAKER),
    K.MODEL_NOT_FOUND: Reaction(SameWorker.NEVER, NextKey.ONCE, NextWorker.YES, Rest.MODEL),
    K.REGION: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES, Rest.PROVIDER),
    K.EDGE: Reaction(SameWorker.ONCE, NextKey.NO, NextWorker.YES, Rest.BREAKER_HALF),
    K.CRASHED: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES, Rest.NOTHING),
    K.CANCELLED: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.NO, Rest.NOTHING),
    K.UNKNOWN: Reaction(SameWorker.NEVER, NextKey.NO, NextWorker.YES, Rest.BREAKER_HALF),
}
"""A reused connection that died before any byte came is asked again by the transport itself, on a new one."""

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
"""Of several failures, the one that tells the caller most."""
