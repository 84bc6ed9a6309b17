"""The end of a server: which connections are idle, which are busy, and how each of them is ended. Knows no HTTP.

begin      idle connections are closed; busy ones go on; health says 503
cut        the grace is over: busy ones are cancelled, and may say so to their clients
close_all  what is left is closed, whatever it does
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Protocol, final

import trio


class Drainable(Protocol):
    """A connection."""

    def keep_alive(self, now: float) -> float:
        """Send what keeps the current response alive, if it is due at `now`. Returns when it may be due next.

        Must not wait. Both are Trio time.
        """
        ...

    def close_after_request(self) -> None:
        """Serve no request after the current one, and say so in its response if that has not begun."""
        ...

    def cut(self) -> None:
        """End the current request soon. Must not wait."""
        ...

    def close_now(self) -> None:
        """Close the socket."""
        ...


@final
class Drain:
    """Knows the connections of one server. Synchronous but for the wait."""

    def __init__(self) -> None:
        self.is_draining = False
        self.is_alone = False
        """Other processes of the server go on: clients that connect are left to them."""
        self._rejoined = trio.Event()
        self._is_cut = False
        self._connections: set[Drainable] = set()
        self._idle: set[trio.CancelScope] = set()
        self._busy: set[Drainable] = set()
        self._quiet = trio.Event()  # set while nothing is busy
        self._quiet.set()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    @property
    def busy(self) -> Collection[Drainable]:
        """Those that have a request."""
        return self._busy

    def add(self, connection: Drainable) -> None:
        """Note a connection that was accepted."""
        self._connections.add(connection)

    def remove(self, connection: Drainable) -> None:
        """Forget a connection that has ended."""
        self._connections.discard(connection)

    @contextmanager
    def idle(self, *, is_new: bool) -> Iterator[trio.CancelScope]:
        """Return a scope that `begin` cancels.

        Args:
            is_new: no request has come. A connection that is made during the drain may ask for one thing: a probe
                must see that the server is not ready.
        """
        with trio.CancelScope() as scope:
            if self.is_draining and not is_new:
                scope.cancel()
            self._idle.add(scope)
            try:
                yield scope
            finally:
                self._idle.discard(scope)

    def begin_request(self, connection: Drainable) -> None:
        """Note that a connection has a request; `end_request` follows."""
        if not self._busy:
            self._quiet = trio.Event()
        self._busy.add(connection)
        if self._is_cut:
            connection.cut()

    def end_request(self, connection: Drainable) -> None:
        """Note that the request has ended."""
        self._busy.discard(connection)
        if not self._busy:
            self._quiet.set()

    def begin(self) -> None:
        """Close idle connections, and every other one after its request."""
        self.is_draining = True
        for scope in self._idle:
            scope.cancel()
        for connection in self._busy:
            connection.close_after_request()

    def leave(self) -> None:
        """Begin alone, unless all processes end."""
        self.is_alone = not self._rejoined.is_set()
        self.begin()

    def rejoin(self) -> None:
        """Note that all processes end: no other one accepts the clients of this one."""
        self.is_alone = False
        self._rejoined.set()

    async def wait_rejoined(self) -> None:
        """Wait until all processes end."""
        await self._rejoined.wait()

    async def wait_quiet(self) -> None:
        """Wait until no connection has a request."""
        while self._busy:
            await self._quiet.wait()

    def cut(self) -> None:
        """Cancel the requests that are left."""
        self._is_cut = True
        for connection in list(self._busy):
            connection.cut()

    def close_all(self) -> None:
        """Close every socket."""
        for connection in list(self._connections):
            connection.close_now()
