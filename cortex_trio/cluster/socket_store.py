"""A store in another process of this machine, over a Unix socket. Knows no gateway, and not who starts the processes.

    serve_link    in the process that has the MemoryStore: serves one link
    SocketStore   in the others: the store as they see it

Both directions carry lines of JSON. A command is [number, method, arguments] and its answer [number, result]; a
published entry has the number 0. Both sides are the same version of this package, run by one user: a line that is not
understood ends the link.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, final

import attrs
import trio

from ..otp.nursery import open_flat_nursery
from .entry import Entry
from .memory import UNREAD_ENTRIES, MemoryStore
from .store import Claim, StoreLink, StoreUnavailable

LONGEST_LINE = 64 * 1024 * 1024
"""Bytes; a snapshot is one line."""
CHUNK = 65_536
NEWS = 0
"""The number of a published entry."""
ENDED = "the connection was closed"


class _Lines:
    """Lines of JSON over a stream. Reading and writing are done by different tasks."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._received = bytearray()
        self._lock = trio.Lock()

    async def receive(self) -> Any:
        """Return the next value; None at the end. Raises ValueError for what is no such line."""
        searched = 0
        while (end := self._received.find(b"\n", searched)) < 0:
            searched = len(self._received)
            if searched > LONGEST_LINE:
                raise ValueError("the line is too long")
            try:
                data = await self._stream.receive_some(CHUNK)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return None
            if not data:
                return None
            self._received += data
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return json.loads(line)

    async def send(self, value: object) -> None:
        """Send a value. After an exception, Cancelled included, half a line may have been sent: close the stream."""
        async with self._lock:
            await self._stream.send_all(json.dumps(value, separators=(",", ":")).encode() + b"\n")


# ------------------------------------------------------------------ the process that has the store


async def serve_link(store: MemoryStore, stream: trio.abc.Stream) -> None:
    """Serve one link until its process closes it, sends what is not understood, or does not read what is published.

    Args:
        store: has the data.
        stream: is closed at the end, also on cancellation.
    """
    lines = _Lines(stream)
    async with stream, store.open_link("") as link, open_flat_nursery() as nursery:
        try:
            while (command := await lines.receive()) is not None:
                number, method, arguments = command
                if method == "subscribe":
                    nursery.start_soon(_publish, await link.subscribe(), lines, nursery.cancel_scope)
                    result = None
                else:
                    result = await _do(link, method, arguments)
                await lines.send([number, result])
        except (ValueError, TypeError, RecursionError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the process opens another link
        nursery.cancel_scope.cancel()


async def _publish(news: trio.MemoryReceiveChannel[Entry], lines: _Lines, scope: trio.CancelScope) -> None:
    try:
        async for entry in news:
            await lines.send([NEWS, attrs.astuple(entry)])
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    scope.cancel()  # entries were lost: the link ends


async def _do(link: StoreLink, method: str, arguments: Sequence[Any]) -> object:
    """Run one command. Returns what can be written as JSON. Raises ValueError or TypeError if there is no such one."""
    match method, arguments:
        case "snapshot", []:
            return [attrs.astuple(entry) for entry in await link.snapshot()]
        case "put", [name, fact, value, seconds]:
            await link.put(Entry(str(name), str(fact), str(value), float(seconds)))
        case "lease", [name, holder, seconds]:
            return await link.lease(str(name), str(holder), float(seconds))
        case "release", [name, holder]:
            await link.release(str(name), str(holder))
        case "claim", [name, process, amount, limit, seconds]:
            return attrs.astuple(
                await link.claim(str(name), str(process), float(amount), float(limit), float(seconds))
            )
        case "add", [batch, amounts]:
            return await link.add(str(batch), {str(name): float(amounts[name]) for name in amounts})
        case "beat", [process, seconds]:
            return await link.beat(str(process), float(seconds))
        case _:
            raise ValueError("no such command")
    return None


# ------------------------------------------------------------------ the other processes


@final
class SocketStore:
    """A store that another process of this machine serves.

    Args:
        path: of the Unix socket.
    """

    salt = ""  # the names do not leave the machine, and both processes have the keys

    def __init__(self, path: str) -> None:
        self.path = path
        self.place = f"unix:{path}"

    def __repr__(self) -> str:
        return f"SocketStore({self.path!r})"

    @asynccontextmanager
    async def open_link(self, process: str) -> AsyncIterator[StoreLink]:
        """Open a link. `process` makes no difference here.

        Raises:
            StoreUnavailable: the process that serves the store is gone.
        """
        try:
            stream = await trio.open_unix_socket(self.path)
        except OSError as error:
            raise StoreUnavailable(error.strerror or str(error)) from error
        async with stream, open_flat_nursery() as nursery:
            link = _SocketLink(stream)
            nursery.start_soon(link.run)
            yield link
            nursery.cancel_scope.cancel()


@attrs.define
class _Answer:
    """The answer to a command, as soon as it has arrived."""

    changed: trio.Event = attrs.field(factory=trio.Event)
    """Set when it has arrived, or when it will not."""
    has_arrived: bool = False
    result: Any = None


@final
class _SocketLink:
    """A link: one connection."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._lines = _Lines(stream)
        self._numbers = NEWS
        self._waiting: dict[int, _Answer] = {}
        self._news: trio.MemorySendChannel[Entry] | None = None  # None before `subscribe`
        self._has_ended = False

    async def run(self) -> None:
        """Receive until the connection ends."""
        try:
            while (received := await self._lines.receive()) is not None:
                number, result = received
                if number == NEWS and self._news is not None:
                    self._news.send_nowait(Entry(*result))
                elif (answer := self._waiting.get(number)) is not None:
                    answer.result, answer.has_arrived = result, True
                    answer.changed.set()
        except (ValueError, TypeError, RecursionError, trio.WouldBlock, trio.BrokenResourceError):
            pass  # not understood, or the subscriber does not read
        finally:
            self._end()

    def _end(self) -> None:
        self._has_ended = True
        if self._news is not None:
            self._news.close()
        for answer in self._waiting.values():
            answer.changed.set()

    async def _ask(self, method: str, *arguments: object) -> Any:
        if self._has_ended:
            raise StoreUnavailable(ENDED)
        self._numbers += 1
        number, answer = self._numbers, _Answer()
        self._waiting[number] = answer
        try:
            await self._send([number, method, arguments])
            await answer.changed.wait()
        finally:
            del self._waiting[number]
        if not answer.has_arrived:
            raise StoreUnavailable(ENDED)
        return answer.result

    async def _send(self, command: object) -> None:
        is_sent = False
        try:
            await self._lines.send(command)
            is_sent = True
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise StoreUnavailable(ENDED) from error
        finally:
            if not is_sent:
                self._end()  # also after a cancellation: half a line may have been sent

    async def subscribe(self) -> trio.MemoryReceiveChannel[Entry]:
        self._news, receive = trio.open_memory_channel[Entry](UNREAD_ENTRIES)
        await self._ask("subscribe")
        return receive

    async def snapshot(self) -> Sequence[Entry]:
        return tuple(Entry(*fields) for fields in await self._ask("snapshot"))

    async def put(self, entry: Entry) -> None:
        await self._ask("put", *attrs.astuple(entry))

    async def lease(self, name: str, holder: str, seconds: float) -> float:
        return float(await self._ask("lease", name, holder, seconds))

    async def release(self, name: str, holder: str) -> None:
        await self._ask("release", name, holder)

    async def claim(self, name: str, process: str, amount: float, limit: float, seconds: float) -> Claim:
        return Claim(*await self._ask("claim", name, process, amount, limit, seconds))

    async def add(self, batch: str, amounts: Mapping[str, float]) -> Mapping[str, float]:
        totals: dict[str, float] = await self._ask("add", batch, dict(amounts))
        return totals

    async def beat(self, process: str, seconds: float) -> int:
        return int(await self._ask("beat", process, seconds))
