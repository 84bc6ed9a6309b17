"""Decides about a request from its head: is there such a route, may this client use it now. Synchronous.

    1. another site in a browser    421    by DNS rebinding or a form, where no key protects a route
    2. no such route                404, 405; what a browser asks first for a page of another site is answered
    3. key                          401
    4. drain                        503    health is still answered
    5. limits of the key            402, 429

Knows no socket.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import final
from urllib.parse import urlsplit

import attrs

from .admission import KeyRefused, KeyRing, KeyUse, presented_key
from .api_protocol import Api
from .exchange import Exchange, Headers, ServedRequest
from .head import RequestHead
from .limits_protocol import ErrorKind
from .own_routes import OwnRoute
from .verdict import Accepted, Refused

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
DRAIN_RETRY_SECONDS = 1.0
ANY_SITE: Headers = (("access-control-allow-origin", "*"), ("access-control-expose-headers", "*"))
"""A page of any site may read the response of an API route that asks for a key: the page must have the key, because a
browser adds no password of its own to a request to `*`."""
PREFLIGHT_SECONDS = "86400"
NO_KEY = "no API key was sent; it belongs into Authorization: Bearer, or into x-api-key"
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
UNAUTHORIZED: Headers = (("www-authenticate", "Bearer"),)
UNAUTHORIZED_PAGE: Headers = (("www-authenticate", 'Basic realm="cortex-trio", charset="UTF-8"'),)
"""A browser then asks for a password, which is the key."""


@final
class ServerFront:
    """Implements `verdict.Front`.

    Args:
        own: the server's own routes by path; an attribute, set before the first request.
        api: the routes of the API.
        keys: of the clients.
        local_host: the host to which a server on the loopback interface is bound; None for any other interface.

    Attributes:
        api, keys: may be replaced at any time; requests that were decided keep theirs.
    """

    def __init__(self, own: Mapping[str, OwnRoute], api: Api, keys: KeyRing, local_host: str | None) -> None:
        self.own = own
        self._local_names = None if local_host is None else LOCAL_NAMES | {local_host.lower()}
        self.api = api
        self.keys = keys

    def decide(self, head: RequestHead, *, is_draining: bool) -> Accepted | Refused:
        verdict = self._decide(head, is_draining=is_draining)
        if self.keys.is_open or head.header("origin") is None or head.path in self.own:
            return verdict
        return _for_any_site(verdict)

    def _decide(self, head: RequestHead, *, is_draining: bool) -> Accepted | Refused:
        own = self.own.get(head.path)
        if own is not None and own.is_public:
            return self._own_verdict(head, own)
        needs_key = not (self.keys.is_open or (own is not None and self._local_names is not None))
        if not needs_key and not self._is_from_here(head):
            return Refused(kind=ErrorKind.MISDIRECTED, message="this host name is not served here")
        if own is None and not self.api.serves(head.method, head.path):
            return self._unknown(head, is_open=not needs_key)
        use = self.keys.find(presented_key(head)) if needs_key else None
        if needs_key and use is None:
            message = NO_KEY if presented_key(head) is None else "the API key is not known"
            asked = UNAUTHORIZED if own is None else UNAUTHORIZED_PAGE
            return Refused(kind=ErrorKind.BAD_KEY, message=message, headers=asked)
        if own is not None:
            return self._own_verdict(head, own)
        if is_draining:
            return Refused(
                kind=ErrorKind.DRAINING,
                message="the server is being stopped",
                retry_after=DRAIN_RETRY_SECONDS,
                key=None if use is None else use.name,
            )
        return _admitted(self.api, use)

    def error(
        self,
        path: str,
        kind: ErrorKind,
        message: str,
        *,
        sent: Headers = (),
        retry_after: float | None = None,
    ) -> tuple[int, Headers, bytes]:
        return self.api.error(path, kind, message, sent=sent, retry_after=retry_after)

    def _own_verdict(self, head: RequestHead, own: OwnRoute) -> Accepted | Refused:
        if head.method not in own.methods:
            return _wrong_method(own.methods)
        return Accepted(answer=own.answer)

    def _unknown(self, head: RequestHead, *, is_open: bool) -> Accepted | Refused:
        allowed = tuple(method for method in METHODS if self.api.serves(method, head.path))
        if not allowed:
            return Refused(kind=ErrorKind.NOT_FOUND, message=f"there is no route {head.path}")
        if head.method == "OPTIONS" and not is_open and head.header("access-control-request-method"):
            return _preflight(head, allowed)
        return _wrong_method(allowed)

    def _is_from_here(self, head: RequestHead) -> bool:
        """Whether the client names this machine, so that it is not a page of another site in a browser here."""
        if self._local_names is None:
            return True
        origin = head.header("origin")
        is_page = origin is not None and (origin == "null" or origin.startswith("http"))
        if is_page and _host(origin or "") not in self._local_names:
            return False
        return _host("//" + (head.header("host") or "")) in self._local_names


def _admitted(api: Api, use: KeyUse | None) -> Accepted | Refused:
    answer = partial(api.answer, client=use)
    if use is None:
        return Accepted(answer=answer)
    admitted = use.admit()
    if isinstance(admitted, KeyRefused):
        return Refused(
            kind=admitted.kind,
            message=admitted.message,
            retry_after=admitted.retry_after,
            headers=use.headers(),
            key=use.name,
        )
    return Accepted(answer=answer, key=use.name, headers=use.headers, release=admitted)


def _for_any_site(verdict: Accepted | Refused) -> Accepted | Refused:
    if isinstance(verdict, Refused):
        return attrs.evolve(verdict, headers=(*verdict.headers, *ANY_SITE))
    headers = verdict.headers
    return attrs.evolve(verdict, headers=lambda: (*headers(), *ANY_SITE))


def _preflight(head: RequestHead, allowed: Sequence[str]) -> Accepted:
    """A browser asks without a key whether a page may send a request. The request itself needs one."""
    headers = (
        ("access-control-allow-methods", ", ".join(allowed)),
        ("access-control-allow-headers", head.header("access-control-request-headers") or "*"),
        ("access-control-max-age", PREFLIGHT_SECONDS),
    )

    async def answer(request: ServedRequest, exchange: Exchange) -> None:
        await exchange.respond(200, headers, b"")

    return Accepted(answer=answer)


def _wrong_method(allowed: tuple[str, ...]) -> Refused:
    message = f"this path has {' and '.join(allowed)} only"
    return Refused(
        kind=ErrorKind.METHOD_NOT_ALLOWED, message=message, headers=(("allow", ", ".join(allowed)),)
    )


def _host(url: str) -> str | None:
    """Return the host of an address in lower case, without its port."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
