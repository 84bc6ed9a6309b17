"""Decides which client a request comes from, and whether its limits allow the request now. Synchronous.

A key is looked up by a hash of its hash and a secret of this process. A lookup may stop at the first byte that differs,
but only this process can compute what is compared, so that says nothing about a key: the time shows neither how much of
a wrong key is right nor how many keys there are.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import math
import secrets
from collections.abc import Callable, Sequence
from typing import final

import attrs

from .counters import LEAST, Counter, Counters
from .exchange import KEY_HEADERS, Headers
from .head import RequestHead
from .limits_protocol import ErrorKind
from .virtual_keys import VirtualKey, sha256_of

BUSY_RETRY_SECONDS = 1.0
"""After which a client whose requests are at the concurrency limit should try again."""
MINUTE_SECONDS = 60
AUTO = "auto"


def presented_key(head: RequestHead) -> str | None:
    """Return the key of a request. None: it has none."""
    authorization = head.header("authorization") or ""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    if scheme.lower() == "basic":  # a browser, for the live page
        return _password(credentials)
    return next(filter(None, map(head.header, KEY_HEADERS)), None) or head.query.get("key") or None


def _password(credentials: str) -> str | None:
    try:
        decoded = base64.b64decode(credentials, validate=True).decode()
    except ValueError:
        return None
    return decoded.partition(":")[2] or None


@attrs.frozen
class KeyRefused:
    """The limits of a key do not allow a request now."""

    kind: ErrorKind
    message: str
    retry_after: float | None
    """Seconds; None: time alone does not help."""


@final
class KeyUse:
    """What one virtual key uses; implements `ClientLimits`. Exists as long as its key is configured."""

    def __init__(self, key: VirtualKey, counters: Counters) -> None:
        self.key = key
        self._counters = counters
        self._requests = _rate(counters, key.name, "requests", key.requests_per_minute)
        self._tokens = _rate(counters, key.name, "tokens", key.tokens_per_minute)
        self._budget = None if key.budget is None else counters.budget(key.name, key.budget)
        self._in_flight = set[object]()  # one for each request

    @property
    def name(self) -> str:
        return self.key.name

    def admit(self) -> KeyRefused | Callable[[], None]:
        """Count a request, if the limits allow it. Returns what must be called at its end, once or more often."""
        refused = self._refused()
        if refused is not None:
            return refused
        in_flight, token = self._in_flight, object()
        in_flight.add(token)
        self._counters.count(self.name, "requests", 1)
        if self._requests is not None:
            self._requests.charge(1)
        return lambda: in_flight.discard(token)

    def adopt(self, old: KeyUse) -> None:
        """Count the requests in flight together with those of the same key in an older configuration."""
        self._in_flight = old._in_flight

    def allows(self, model: str) -> bool:
        """Whether the key includes a model; a name of the configuration may have `*`."""
        models = self.key.models
        return models is None or any(fnmatch.fnmatchcase(model or AUTO, allowed) for allowed in models)

    def charge(self, *, tokens: int, usd: float | None) -> None:
        """Count what a call has used."""
        if tokens > 0:
            self._counters.count(self.name, "tokens", tokens)
            if self._tokens is not None:
                self._tokens.charge(tokens)
        if usd is not None and usd > 0:
            self._counters.count(self.name, "usd", usd)
            if self._budget is not None:
                self._budget.charge(usd)

    def headers(self) -> Headers:
        """Return the `x-ratelimit-*` headers of OpenAI's API."""
        return (*_rate_headers("requests", self._requests), *_rate_headers("tokens", self._tokens))

    def _refused(self) -> KeyRefused | None:
        if self._budget is not None and (seconds := self._budget.seconds_until(LEAST)) > 0:
            if not self._budget.is_used_up:  # clients do not repeat a request after 402
                message = "this process waits for its next part of the budget"
                return KeyRefused(ErrorKind.RATE_LIMITED, message, seconds)
            retry = None if self.key.budget is None or self.key.budget.per == "total" else seconds
            return KeyRefused(
                ErrorKind.INSUFFICIENT_QUOTA, f"the budget of {self._budget.limit:g} USD is spent", retry
            )
        if self.key.max_concurrency is not None and len(self._in_flight) >= self.key.max_concurrency:
            message = f"{self.key.max_concurrency} requests are in flight already"
            return KeyRefused(ErrorKind.RATE_LIMITED, message, BUSY_RETRY_SECONDS)
        for counter, what in ((self._requests, "requests"), (self._tokens, "tokens")):
            if counter is not None and (seconds := counter.seconds_until(1)) > 0:
                message = f"the limit of {counter.limit:g} {what} per minute is reached"
                return KeyRefused(ErrorKind.RATE_LIMITED, message, seconds)
        return None


@final
class KeyRing:
    """All virtual keys.

    Args:
        keys: empty: no key is asked for.
        counters: keep what the keys use.
        old: the ring of the configuration before.
    """

    def __init__(self, keys: Sequence[VirtualKey], counters: Counters, old: KeyRing | None = None) -> None:
        self._secret = secrets.token_bytes(32)
        self._uses = {self._place(key.key_sha256): KeyUse(key, counters) for key in keys}
        known = {use.name: use for use in old._uses.values()} if old is not None else {}
        for use in self._uses.values():
            if use.name in known:
                use.adopt(known[use.name])

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for."""
        return not self._uses

    def find(self, presented: str | None) -> KeyUse | None:
        """Return the key that a client has presented. None: it is not known."""
        found = self._uses.get(self._place(sha256_of(presented or "")))
        return found if presented else None

    def _place(self, key_sha256: str) -> bytes:
        return hashlib.blake2b(key_sha256.encode("ascii"), key=self._secret).digest()


def _rate(counters: Counters, key: str, what: str, per_minute: int | None) -> Counter | None:
    return None if per_minute is None else counters.rate(key, what, per_minute)


def _rate_headers(what: str, counter: Counter | None) -> Headers:
    if counter is None:
        return ()
    return (
        (f"x-ratelimit-limit-{what}", f"{counter.limit:.0f}"),
        (f"x-ratelimit-remaining-{what}", f"{max(0, math.floor(counter.remaining))}"),
        (f"x-ratelimit-reset-{what}", _duration(counter.seconds_until(counter.limit))),
    )


def _duration(seconds: float) -> str:
    """Return a duration as OpenAI's API writes it: 120ms, 1.5s, 6m0s."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.3g}s" if seconds < MINUTE_SECONDS else f"{int(seconds // 60)}m{int(seconds % 60)}s"
