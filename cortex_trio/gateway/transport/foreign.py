"""Sends requests by a transport of httpx or httpx2, or one of the user's with the same two methods.

A foreign transport may raise anything; every exception becomes a Failure. Knows no worker.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, Protocol, final

import httpx
import trio

from ...failures import ConfigError
from ...http.errors import ReadTimeout
from ...http.network import CLOSE_SECONDS
from ...wire.codec import HttpRequest
from .errors import LIBRARIES, Secrets, transport_failed
from .response import Response

UNWIND_PIECES = 1_000
"""Pieces that may be buffered between the socket and the end of the transport when a response is left early."""


class Transport(Protocol):
    """The two methods of a transport of httpx or httpx2, which a transport of your own must have as well.

    A response has `status_code`, `headers`, and `stream`, an async iterable of bytes with an `aclose` method.
    """

    async def handle_async_request(self, request: Any, /) -> Any: ...

    async def aclose(self) -> None: ...


# ------------------------------------------------------------------ sending


async def send_by_httpx(
    transport: Transport,
    request: HttpRequest,
    url: httpx.URL,
    headers: Mapping[str, str],
    secrets: Secrets,
    connect_timeout: float,
) -> Response:
    """Send `request` to `url`; return its response when the head has arrived. The caller closes the response.

    Args:
        transport: of httpx, httpx2 or the user.
        request: of a dialect.
        url: with path and query.
        headers: all of them, the API key included.
        secrets: are removed from the texts of errors.
        connect_timeout: seconds for a new connection.

    Raises:
        TransportFailed: the transport raised an exception, or returned no response.
    """
    library = library_of(transport)
    http_request = library.Request(
        request.method,
        library.URL(str(url)).copy_with(raw_path=url.raw_path),
        headers=headers,
        content=request.body,
        extensions={"timeout": {"connect": connect_timeout}},
    )
    try:
        response = await transport.handle_async_request(http_request)
        if not hasattr(response.stream, "__aiter__"):
            raise TypeError("a body that is not async iterable")
        fields = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, fields, HttpxBody(response.stream), secrets)
    except Exception as error:
        failed = transport_failed(error, "headers", secrets)
    finally:
        del headers, http_request
    try:
        raise failed  # outside of the handler: `error` as a context may repeat a secret
    finally:
        del failed  # its traceback holds this frame: a reference cycle


@final
class HttpxBody:
    """The body of a response of a foreign transport: a `Body`. Its errors are those of the transport."""

    def __init__(self, stream: Any) -> None:  # of httpx, of httpx2, or of the user's
        self._stream = stream
        self._chunks: AsyncIterator[bytes] = stream.__aiter__()
        self.is_reading = False

    async def receive(self, deadline: float = math.inf) -> bytes:
        self.is_reading = True
        try:
            with trio.move_on_at(deadline):
                async for data in self._chunks:
                    if data:
                        return data
                return b""
        finally:
            self.is_reading = False
        raise ReadTimeout

    async def aclose(self) -> None:
        bodies = {id(body): body for body in (self._chunks, self._stream)}  # a stream may be its own iterator
        closings = [getattr(body, "aclose", None) for body in bodies.values()]
        for close in filter(None, (self._unwind, *closings)):
            # An error of a foreign transport is ignored here: the response has ended.
            with trio.move_on_after(CLOSE_SECONDS, shield=True), suppress(Exception):
                await close()

    async def _unwind(self) -> None:
        """End nested generators. `aclose` reaches the outermost one only, a cancellation all of them.

        httpcore nests four. Those that are left suspended warn when they are collected.
        """
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(UNWIND_PIECES):
                if not await anext(self._chunks, b""):
                    break


# ------------------------------------------------------------------ checks

_PASS_A_FUNCTION = (
    "pass a function that returns one: http_transport=lambda worker: httpx.AsyncHTTPTransport()"
)


def check_factory(make_transport: object) -> None:
    """Raise ConfigError if `make_transport` is a transport, or a class of one, and not a function that returns one."""
    is_class = isinstance(make_transport, type)
    kind = make_transport if isinstance(make_transport, type) else type(make_transport)
    handles = hasattr(kind, "handle_async_request") or hasattr(kind, "handle_request")
    if handles and not is_class:
        raise ConfigError("http_transport", f"this is a transport, {kind.__name__}; {_PASS_A_FUNCTION}")
    # Not any other class: the constructor of a user's own may take a worker.
    if handles and kind.__module__.partition(".")[0] in LIBRARIES:
        raise ConfigError("http_transport", f"this is the class {kind.__name__}; {_PASS_A_FUNCTION}")
    if not callable(make_transport):
        raise ConfigError("http_transport", f"this is of type {kind.__name__}; {_PASS_A_FUNCTION}")


def check_transport(transport: object) -> None:
    """Raise ConfigError if a function for transports returned something else."""
    if inspect.iscoroutine(transport):
        transport.close()
        raise ConfigError("http_transport", f"the function is async; {_PASS_A_FUNCTION}")
    if not (hasattr(transport, "handle_async_request") and hasattr(transport, "aclose")):
        kind = type(transport).__name__
        raise ConfigError(
            "http_transport",
            f"the function returned a value of type {kind}, which has no handle_async_request and aclose",
        )


def library_of(transport: Transport) -> ModuleType:
    """Return the library, httpx or httpx2, whose Request a transport takes: by its base class or its annotations."""
    handle = getattr(type(transport), "handle_async_request", None)
    annotations = getattr(handle, "__annotations__", {}).values()
    modules = [
        *(kind.__module__ for kind in type(transport).__mro__),
        *(text if isinstance(text, str) else getattr(text, "__module__", "") for text in annotations),
    ]
    roots = [module.partition(".")[0] for module in modules]
    name = next((root for root in roots if root in ("httpx", "httpx2")), "httpx")
    return sys.modules.get(name, httpx)
