"""`Response`: an open HTTP response of a provider, whatever transport it came from.

A body, of our own pool or of a foreign transport, raises errors of its library. They become a Failure in one place
here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, final

import trio

from ...http.errors import ReadTimeout
from .errors import Secrets, transport_failed


class Body(Protocol):
    """The body of one response: an `http.Exchange`, or a `foreign.HttpxBody`."""

    @property
    def is_reading(self) -> bool:
        """Whether a task waits in `receive`."""
        ...

    async def receive(self, deadline: float = math.inf, /) -> bytes:
        """Return the next bytes, b"" at the end. Raises ReadTimeout, or any exception of its transport."""
        ...

    async def aclose(self) -> None:
        """Close. Never raises, never waits long."""
        ...


@final
class Response:
    """An open response: status and headers have arrived, the body is read with `receive`.

    Attributes:
        status: the status code.
        headers: names in lower case; values of a repeated name are joined with commas.
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: Body, secrets: Secrets) -> None:
        self.status = status
        self.headers = headers
        self._body = body
        self._secrets = secrets  # removed from the texts of errors

    async def receive(self, deadline: float = math.inf) -> bytes:
        """Return the next bytes of the body, b"" at its end. After a cancellation the response is only to be closed.

        Args:
            deadline: Trio time.

        Raises:
            TransportFailed: the connection broke, or the transport failed.
            ReadTimeout: nothing arrived before the deadline. The connection may be closed then.
            trio.BusyResourceError: another task is reading this response.
        """
        if self._body.is_reading:
            raise trio.BusyResourceError("another task is reading this response")
        try:
            return await self._body.receive(deadline)
        except ReadTimeout:
            raise
        except Exception as error:
            failed = transport_failed(error, "stream", self._secrets)
        try:
            raise failed  # outside of the handler: `error` as a context may repeat a secret
        finally:
            del failed  # its traceback holds this frame: a reference cycle

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end; close it otherwise. Never raises or waits long."""
        await self._body.aclose()
