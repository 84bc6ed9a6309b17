"""What can go wrong, what an error proves, and how the gateway reacts. Knows no provider, no Trio, no HTTP client.

kinds        Failure
classify     an HTTP error or an error in a stream, to a Failure
body         messages, codes and fields of an error body, nested or cut
signals      codes and statuses that prove a kind: data with sources
phrases      sentences that prove a kind: data with sources
wording      finds the sentences of `phrases` in a message
retry_after  the time after which a provider allows another request: one parser for all forms
limits       rate limits in the headers of a response
reactions    one table: the failure kinds, and the reaction to each
repetition   whether a failed request may be repeated with the same worker
redact       removes API keys and repeated requests from texts
shown        values in error texts: without API keys and control characters, cut to a length
errors       exceptions raised before anything is sent
"""

from .classify import classify, classify_payload, scrub
from .errors import (
    ConfigError,
    CortexError,
    InvalidRequest,
    NoWorkersAvailable,
)
from .kinds import Failure, FailureKind
from .reactions import (
    LONGEST_COOLDOWN,
    PRIMARY_ORDER,
    REACTIONS,
    CooldownRule,
    NextKey,
    NextWorker,
    Reaction,
    SameWorker,
    Scope,
)
from .repetition import official_sdks_retry, same_worker_of
from .retry_after import empty_bucket_reset, parse_duration, retry_after

__all__ = [
    "LONGEST_COOLDOWN",
    "PRIMARY_ORDER",
    "REACTIONS",
    "ConfigError",
    "CooldownRule",
    "CortexError",
    "Failure",
    "FailureKind",
    "InvalidRequest",
    "NextKey",
    "NextWorker",
    "NoWorkersAvailable",
    "Reaction",
    "SameWorker",
    "Scope",
    "classify",
    "classify_payload",
    "empty_bucket_reset",
    "official_sdks_retry",
    "parse_duration",
    "retry_after",
    "same_worker_of",
    "scrub",
]
