"""A transport of httpx or httpx2, or one of the user's with the same two methods: how it is asked, and its answer.

It may do anything; whatever it raises becomes a Failure. Knows no worker.
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
from ...http.exchange import ReadTimeout
from ...http.sockets import CLOSE_SECONDS
from ...wire.codec import HttpRequest
from .errors import LIBRARIES, Secrets, transport_failed

UNWIND_PIECES = 1_000
"""What may have been read from the socket and not yet from the transport, when an answer is left early."""


class Transport(Protocol):
    """What a transport of httpx, of httpx2 or of your own has: these two methods.

    The response has `status_code`, `headers` and, as `stream`, an async iterable of bytes with an `aclose`.
    """

    async def handle_async_request(self, request: Any, /) -> Any: ...

    async def aclose(self) -> None: ...


# ------------------------------------------------------------------ asking


async def send_by_httpx(
    transport: Transport,
    request: HttpRequest,
    url: httpx.URL,
    headers: Mapping[str, str],
    secrets: Secrets,
    connect_timeout: float,
) -> HttpxAnswer:
    """Send `request` to `url` and return its answer, body still open. Raises TransportFailed."""
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
            raise TypeError("a body that is not async-iterable")
        return HttpxAnswer(response, secrets)
    except Exception as error:
        failed = transport_failed(error, "headers", secrets)
    finally:
        del headers, http_request
    try:
        raise failed  # outside of the handler: what it was made of may repeat a secret
    finally:
        del failed  # its traceback holds this frame: a circle


@final
class HttpxAnswer:
    """An open answer, as `transport.Answer` describes it."""

    def __init__(self, response: Any, secrets: Secrets) -> None:  # of httpx, of httpx2, or of the user's
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = {name.lower(): value for name, value in response.headers.items()}
        self._stream = response.stream
        self._chunks: AsyncIterator[bytes] = self._stream.__aiter__()
        self._reading = False
        self._secrets = secrets

    async def receive(self, deadline: float = math.inf) -> bytes:
        if self._reading:  # told here, for two in one generator end the first one's reading as well
            raise trio.BusyResourceError("another task is reading this answer")
        self._reading = True
        failed: Exception = ReadTimeout()
        try:
            with trio.move_on_at(deadline):
                async for data in self._chunks:
                    if data:
                        return data
                return b""
        except Exception as error:
            failed = transport_failed(error, "stream", self._secrets)
        finally:
            self._reading = False
        try:
            raise failed
        finally:
            del failed  # its traceback holds this frame: a circle

    async def aclose(self) -> None:
        bodies = {id(body): body for body in (self._chunks, self._stream)}  # a stream may be its own iterator
        closings = [getattr(body, "aclose", None) for body in bodies.values()]
        for close in filter(None, (self._unwind, *closings)):
            # Whatever a transport of the user's raises here: the answer is over.
            with trio.move_on_after(CLOSE_SECONDS, shield=True), suppress(Exception):
                await close()

    async def _unwind(self) -> None:
        """End the generators inside the generator: `aclose` reaches the outermost alone, a cancellation all of them.

        httpcore nests four; those that are left suspended warn when they are collected.
        """
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(UNWIND_PIECES):
                if not await anext(self._chunks, b""):
                    break


# ------------------------------------------------------------------ is it one?

_PASS_A_FUNCTION = (
    "pass a function that returns one: http_transport=lambda worker: httpx.AsyncHTTPTransport()"
)


def check_factory(make_transport: object) -> None:
    is_class = isinstance(make_transport, type)
    kind = make_transport if isinstance(make_transport, type) else type(make_transport)
    handles = hasattr(kind, "handle_async_request") or hasattr(kind, "handle_request")
    if handles and not is_class:
        raise ConfigError("http_transport", f"this is a transport, {kind.__name__}; {_PASS_A_FUNCTION}")
    if handles and kind.__module__.partition(".")[0] in LIBRARIES:  # one of the user's may take a worker
        raise ConfigError("http_transport", f"this is the class {kind.__name__}; {_PASS_A_FUNCTION}")
    if not callable(make_transport):
        raise ConfigError("http_transport", f"this is of type {kind.__name__}; {_PASS_A_FUNCTION}")


def check_transport(transport: object) -> None:
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
    """The library, httpx or httpx2, whose Request a transport takes: that of its base, else of its annotation."""
    handle = getattr(type(transport), "handle_async_request", None)
    annotations = getattr(handle, "__annotations__", {}).values()
    modules = [
        *(kind.__module__ for kind in type(transport).__mro__),
        *(text if isinstance(text, str) else getattr(text, "__module__", "") for text in annotations),
    ]
    roots = [module.partition(".")[0] for module in modules]
    name = next((root for root in roots if root in ("httpx", "httpx2")), "httpx")
    return sys.modules.get(name, httpx)
