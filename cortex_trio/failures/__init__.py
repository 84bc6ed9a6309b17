"""What can go wrong and what we do about it.

kinds        FailureKind and the Failure value
retry_after  one parser for every way a provider says "not before"
classify     provider code or type → message phrase → HTTP status, to a Failure
reactions    one table: what each kind makes us do
errors       the exceptions, drawn as a tree
shown        values in error texts: no keys, no control characters, bounded
"""

from .classify import classify, classify_payload, scrub
from .errors import (
    AllWorkersFailed,
    ConfigError,
    CortexError,
    InvalidRequest,
    NoWorkersAvailable,
    ProviderError,
    StreamInterrupted,
)
from .kinds import Failure, FailureKind
from .reactions import PRIMARY_ORDER, REACTIONS, NextKey, NextWorker, Reaction, Rest, SameWorker
from .retry_after import empty_bucket_reset, parse_duration, retry_after

__all__ = [
    "PRIMARY_ORDER",
    "REACTIONS",
    "AllWorkersFailed",
    "ConfigError",
    "CortexError",
    "Failure",
    "FailureKind",
    "InvalidRequest",
    "NextKey",
    "NextWorker",
    "NoWorkersAvailable",
    "ProviderError",
    "Reaction",
    "Rest",
    "SameWorker",
    "StreamInterrupted",
    "classify",
    "classify_payload",
    "empty_bucket_reset",
    "parse_duration",
    "retry_after",
    "scrub",
]
