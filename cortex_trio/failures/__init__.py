"""What can go wrong and what we do about it.

kinds        FailureKind and the Failure value
retry_after  one parser for every way a provider says "not before"
body         messages, codes and parameters of an error body, wrapped or cut
signals      codes and statuses that prove a kind, as data with their source
phrases      sentences that prove a kind, as data with their source; wording finds them
classify     provider code or type → message phrase → HTTP status, to a Failure
redact       takes API keys out of texts
reactions    one table: what each kind makes us do
errors       the exceptions of what was wrong before anything was sent
shown        values in error texts: no keys, no control characters, bounded
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
    official_sdks_retry,
    same_worker_of,
)
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
