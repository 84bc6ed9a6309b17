"""Cooldowns as facts that processes share: their names and their text. Pure; knows no store and no clock.

A name has the worker, a hash of its server, and what is cooling down; API keys and models are hashed. The text has
only durations. A text of another version or of another program is no cooldown: it is ignored.
"""

from __future__ import annotations

import json
import math
from hashlib import sha256
from typing import Any

import attrs

from ...cluster import Entry
from ...cluster.entry import LONGEST_SECONDS
from ...failures import LONGEST_COOLDOWN, FailureKind
from ..workers.cooldowns import Basis, Cooldown
from ..workers.endpoint import Endpoint

KIND = "cooldown"
LONGEST_MODEL = 300
"""Characters of the name of a model; callers choose them."""


@attrs.frozen
class CooldownFact:
    """A cooldown as another process has described it. Times are seconds from now."""

    worker: str
    server: str
    """As `server_of` returns it: two workers of one name with different servers share nothing."""
    model: str | None
    key: str | None
    """The fingerprint of the API key; None: all keys."""
    kind: FailureKind
    basis: Basis
    seconds: float
    """Until it ends."""
    trial_seconds: float
    """Until a request may try; at most `seconds`."""
    failures: int

    def cooldown(self, now: float, jitter: float) -> Cooldown:
        """Return it as an entry of the table. Its end is `jitter` seconds later, and never earlier.

        Args:
            now: Trio time.
            jitter: so that not all processes try at the same moment.
        """
        until = now + min(self.seconds + jitter, LONGEST_COOLDOWN)
        trial_at = min(now + self.trial_seconds + jitter, until)
        return Cooldown(self.kind, now, until, trial_at, self.basis, self.failures)


def server_of(endpoint: Endpoint, salt: str) -> str:
    """Return a hash of the address of a worker's server."""
    return _hash(salt, f"{endpoint.provider.name} {endpoint.config.base_url or endpoint.provider.base_url}")


def name_of(worker: str, server: str, model: str | None, key: str | None, salt: str) -> str:
    """Return the name of what is cooling down. `key` is the fingerprint of an API key."""
    hashed = "-" if model is None else _hash(salt, model)
    return f"{KIND}:{worker}:{server}:{hashed}:{key or '-'}"


def text_of(
    worker: str, server: str, model: str | None, key: str | None, cooldown: Cooldown, now: float
) -> str:
    """Return the text of a cooldown that has not ended. `key` is the fingerprint of an API key."""
    return json.dumps(
        {
            "worker": worker,
            "server": server,
            "model": model,
            "key": key,
            "kind": cooldown.kind.value,
            "basis": cooldown.basis.value,
            "seconds": cooldown.until - now,
            "trial_seconds": max(0.0, cooldown.trial_at - now),
            "failures": cooldown.failures,
        },
        separators=(",", ":"),
    )


def fact_of(entry: Entry) -> CooldownFact | None:
    """Return the cooldown in an entry that has not ended; None if there is none that can be understood."""
    try:
        found: Any = json.loads(entry.value)
        waited = seconds_from(found["seconds"]) - entry.seconds  # since the text was written
        return CooldownFact(
            worker=text_from(found["worker"]),
            server=text_from(found["server"]),
            model=None if found["model"] is None else text_from(found["model"]),
            key=None if found["key"] is None else text_from(found["key"]),
            kind=FailureKind(found["kind"]),
            basis=Basis(found["basis"]),
            seconds=seconds_from(entry.seconds),
            trial_seconds=min(max(0.0, seconds_from(found["trial_seconds"]) - waited), entry.seconds),
            failures=min(max(1, int(found["failures"])), 1_000),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


def seconds_from(value: object) -> float:
    """Return a time left that another program has written. Raises ValueError."""
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= LONGEST_SECONDS:
        raise ValueError("no time left")
    return float(value)


def text_from(value: object) -> str:
    """Return a name that another program has written. Raises ValueError."""
    if not isinstance(value, str) or len(value) > LONGEST_MODEL:
        raise ValueError("no name")
    return value


def _hash(salt: str, text: str) -> str:
    return sha256(f"{salt}\0{text}".encode()).hexdigest()[:16]
