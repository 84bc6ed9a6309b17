"""TLS over a plain socket, as bytes in memory. Knows no HTTP.

Why not trio's SSLStream: it cannot say whether it holds anything that was not read. A connection is used again only
if it does not, or a server's bytes behind one answer would become the next one. What TLS sends for its own sake after
an answer (session tickets, new keys) must not count, so it has to be taken in before that can be said. It is also
faster: a read costs no lock and no extra checkpoint.
https://docs.python.org/3/library/ssl.html#memory-bio-support
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import final

import trio

from .causes import explain
from .sockets import NOTHING, PlainSocket

RECORD_BYTES = 16 * 1024
"""What one record carries at most: RFC 8446, section 5.1."""
SLICE_BYTES = 4 * RECORD_BYTES
"""Encrypted at once; between two slices other tasks run."""
_HEADER_BYTES = 5


@final
class SecureSocket:
    """A TLS client. One task may send while another receives.

    Its close says no goodbye: leaving an answer early must not wait for a full buffer of the server. HTTPS servers
    end without one, too: an answer that was cut shows in its framing.
    """

    can_abort = True

    def __init__(self, plain: PlainSocket, context: ssl.SSLContext, host: str) -> None:
        self._socket = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._records = _RecordCounter()
        self._unsent = NOTHING  # not encrypted yet
        self._is_sender_there = False
        self._received: trio.Event | None = (
            None  # there while sending waits for the server, in a renegotiation
        )
        self._is_over = False  # the server has ended TLS or the connection
        self._error: ssl.SSLError | None = None  # behind what was given out

    async def handshake(self) -> None:
        """Raises ssl.SSLError or trio.BrokenResourceError."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.finish_sending()
                self._feed(await self._socket.receive_some())
            except ssl.SSLEOFError as error:
                raise trio.BrokenResourceError(explain(error)) from error
            except ssl.SSLError:
                with suppress(trio.BrokenResourceError):
                    self._send_now()  # the alert that says why
                raise
            else:
                return await self.finish_sending()

    # -------------------------------------------------------------- sending

    @property
    def is_sending(self) -> bool:
        return bool(self._unsent or self._outgoing.pending or self._socket.is_sending)

    async def send(self, data: memoryview) -> None:
        self._unsent = data
        self._send_now()

    async def finish_sending(self) -> None:
        self._is_sender_there = True
        try:
            while self.is_sending:
                if self._socket.is_sending:
                    await self._socket.finish_sending()
                elif self._received is not None:
                    await self._received.wait()
                else:
                    await trio.lowlevel.checkpoint()
                self._send_now()
        finally:
            self._is_sender_there = False

    def _send_now(self) -> None:
        """Encrypt a slice, if the one before is on its way, and begin to send it."""
        if self._socket.is_sending:
            return
        try:
            if self._unsent:
                self._encrypt()
            if self._outgoing.pending:
                self._socket.send_nowait(memoryview(self._outgoing.read()))
        except trio.BrokenResourceError:
            self._unsent = NOTHING
            self._outgoing.read()
            raise

    def _encrypt(self) -> None:
        try:
            written = self._tls.write(self._unsent[:SLICE_BYTES])
        except ssl.SSLWantReadError:
            self._received = trio.Event()
        except ssl.SSLError as error:
            raise trio.BrokenResourceError(explain(error)) from error
        else:
            self._unsent = self._unsent[written:]

    # -------------------------------------------------------------- receiving

    async def receive_some(self) -> bytes:
        data = self._decrypt() if self._incoming.pending else b""
        while not data:
            if self._is_over:
                return b""
            if self._error is not None:
                raise trio.BrokenResourceError(explain(self._error)) from self._error
            self._feed(await self._socket.receive_some())
            data = self._decrypt()
        return data

    def is_readable(self) -> bool:
        """Whether there is anything for the user of this stream: data, an end, an error, or half a record."""
        while not (self._is_over or self._error):
            try:
                sealed = self._socket.receive_nowait()
            except trio.BrokenResourceError:
                return True
            if sealed is None:
                break
            self._feed(sealed)
            if self._decrypt():
                return True
        return bool(self._is_over or self._error or self._records.is_inside_one)

    def _feed(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
            self._records.count(data)
        else:
            self._incoming.write_eof()
            self._is_over = True
        if self._received is not None:
            self._received.set()
            self._received = None

    def _decrypt(self) -> bytes:
        """All data of whole records; b"" if there is none. What ends the stream is kept for the next call."""
        pieces: list[bytes] = []
        try:
            while self._incoming.pending or self._tls.pending():
                piece = self._tls.read(RECORD_BYTES)
                if not piece:
                    self._is_over = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._error = error
        if self._outgoing.pending and not self._is_sender_there:
            with suppress(trio.BrokenResourceError):
                self._send_now()  # what TLS answers for its own sake
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # -------------------------------------------------------------- the end

    def abort(self) -> None:
        self._socket.abort()

    async def aclose(self) -> None:
        self._socket.abort()


@final
class _RecordCounter:
    """Where in a record the received bytes end. OpenSSL takes in half a record and does not say so."""

    def __init__(self) -> None:
        self._header = b""  # as much as has come of one
        self._left = 0  # bytes of the record that are still to come

    @property
    def is_inside_one(self) -> bool:
        return bool(self._left or self._header)

    def count(self, data: bytes) -> None:
        at, size = self._left, len(data)
        while at < size:
            header = self._header + data[at : at + _HEADER_BYTES - len(self._header)]
            if len(header) < _HEADER_BYTES:
                self._header, self._left = header, 0
                return
            at += _HEADER_BYTES - len(self._header) + int.from_bytes(header[3:], "big")
            self._header = b""
        self._left = at - size
