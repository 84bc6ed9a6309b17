"""What can go wrong and what we do about it.

kinds        FailureKind and the Failure value
retry_after  one parser for every way a provider says "not before"
classify     provider code or type → message phrase → HTTP status, to a Failure
reactions    one table: what each kind makes us do
errors       the exceptions, drawn as a tree
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
from .reactions import REACTIONS, Reaction, Rest
from .retry_after import parse_duration, retry_after

__all__ = [
    "REACTIONS",
    "AllWorkersFailed",
    "ConfigError",
    "CortexError",
    "Failure",
    "FailureKind",
    "InvalidRequest",
    "NoWorkersAvailable",
    "ProviderError",
    "Reaction",
    "Rest",
    "StreamInterrupted",
    "classify",
    "classify_payload",
    "parse_duration",
    "retry_after",
    "scrub",
]
