"""TLS over a TCP stream, encrypted and decrypted in memory. Knows no HTTP.

Why not trio's SSLStream: it cannot say whether it holds bytes that were not read. A connection may carry another
request only if it holds none; otherwise bytes that follow one response would become the next response. Messages of
TLS itself that follow a response (session tickets, key updates) must not count, so they are processed before the
question is answered. It is also faster: a read takes no lock and no extra checkpoint.
https://docs.python.org/3/library/ssl.html#memory-bio-support
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import final

import trio

from .causes import explain
from .network import EMPTY
from .tcp import TCPStream

RECORD_BYTES = 16 * 1024
"""Bytes that one record carries at most: RFC 8446, section 5.1."""
SLICE_BYTES = 4 * RECORD_BYTES
"""Bytes that are encrypted at once. Other tasks run between two slices."""
_HEADER_BYTES = 5


@final
class TLSStream:
    """The client's side of TLS: a `NetworkStream`. One task may send while another receives.

    Closing sends no close_notify: leaving a response early must not wait for a server whose buffer is full. HTTPS
    servers often omit close_notify too; the framing of HTTP shows whether a response is complete.
    """

    can_close_now = True

    def __init__(self, plain: TCPStream, context: ssl.SSLContext, host: str) -> None:
        self._stream = plain
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._records = _RecordCounter()
        self._unsent = EMPTY  # not yet encrypted
        self._is_sender_active = False
        self._received: trio.Event | None = None  # not None while sending waits for bytes, in a renegotiation
        self._is_over = False  # the server has ended TLS or the connection
        self._error: ssl.SSLError | None = None  # to be raised after the data before it was returned

    async def handshake(self) -> None:
        """Do the TLS handshake. Cancelling it leaves the stream unusable.

        Raises:
            ssl.SSLError: the handshake failed, for example because of the certificate.
            trio.BrokenResourceError: the connection ended.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.finish_sending()
                self._feed(await self._stream.receive_some())
            except ssl.SSLEOFError as error:
                raise trio.BrokenResourceError(explain(error)) from error
            except ssl.SSLError:
                with suppress(trio.BrokenResourceError):
                    self._send_now()  # the alert with the reason
                raise
            else:
                return await self.finish_sending()

    # -------------------------------------------------------------- sending

    @property
    def is_sending(self) -> bool:
        return bool(self._unsent or self._outgoing.pending or self._stream.is_sending)

    async def send(self, data: memoryview) -> None:
        self._unsent = data
        self._send_now()

    async def finish_sending(self) -> None:
        self._is_sender_active = True
        try:
            while self.is_sending:
                if self._stream.is_sending:
                    await self._stream.finish_sending()
                elif self._received is not None:
                    await self._received.wait()
                else:
                    await trio.lowlevel.checkpoint()
                self._send_now()
        finally:
            self._is_sender_active = False

    def _send_now(self) -> None:
        """Encrypt the next slice and start to send it, unless the slice before is still being sent."""
        if self._stream.is_sending:
            return
        try:
            if self._unsent:
                self._encrypt()
            if self._outgoing.pending:
                self._stream.send_nowait(memoryview(self._outgoing.read()))
        except trio.BrokenResourceError:
            self._unsent = EMPTY
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
            self._feed(await self._stream.receive_some())
            data = self._decrypt()
        return data

    def is_readable(self) -> bool:
        """Whether a read would return data, the end or an error, or a part of a record has arrived."""
        while not (self._is_over or self._error):
            try:
                sealed = self._stream.receive_nowait()
            except trio.BrokenResourceError:
                return True
            if sealed is None:
                break
            self._feed(sealed)
            if self._decrypt():
                return True
        return bool(self._is_over or self._error or self._records.is_inside_record)

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
        """Return the data of all complete records, b"" if there is none. Keep an end or an error for the next call."""
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
        if self._outgoing.pending and not self._is_sender_active:
            with suppress(trio.BrokenResourceError):
                self._send_now()  # what TLS itself replies
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # -------------------------------------------------------------- closing

    def close_now(self) -> None:
        self._stream.close_now()

    async def aclose(self) -> None:
        self._stream.close_now()


@final
class _RecordCounter:
    """Whether the received bytes end inside a record. OpenSSL accepts a part of a record and does not report it."""

    def __init__(self) -> None:
        self._header = b""  # the received part of an incomplete header
        self._left = 0  # bytes of the record that have not arrived

    @property
    def is_inside_record(self) -> bool:
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
