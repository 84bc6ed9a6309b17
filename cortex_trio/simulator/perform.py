"""Play a scene on a connection: the timing, the faults, the slicing. Decides nothing about the content."""

from __future__ import annotations

import enum
from typing import Protocol

import trio

from ..wire.server import Frame, FrameKind
from .scene import Scene


class Ending(enum.Enum):
    """How a response ended, and so what becomes of its connection."""

    COMPLETE = "complete"  # in good order, perhaps too early; the connection may be used again
    CLOSE = "close"  # the connection is closed as it is
    RESET = "reset"


class Wire(Protocol):
    """What the performance needs of a connection."""

    async def begin(self, scene: Scene) -> None:
        """Send status line and headers, once; later calls do nothing."""
        ...

    async def write(self, data: bytes) -> None:
        """Send `data` as one piece of the body."""
        ...

    async def write_half(self, data: bytes) -> None:
        """Send `data` as one HTTP chunk, but only the first half of it."""
        ...

    async def write_endless_headers(self, scene: Scene) -> None: ...


async def perform(scene: Scene, wire: Wire) -> Ending:
    behaviour = scene.behaviour
    if behaviour.refuse or behaviour.reset_at == "request":
        return Ending.RESET
    if behaviour.cut_at == "request":
        return Ending.CLOSE
    if behaviour.silent:
        await trio.sleep_forever()
    if behaviour.endless_headers:
        await wire.write_endless_headers(scene)
    if "headers" in (behaviour.reset_at, behaviour.cut_at):
        await trio.sleep(scene.delay)
        await wire.begin(scene)
        return Ending.RESET if behaviour.reset_at else Ending.CLOSE
    return await _Performance(scene, wire).run()


class _Performance:
    """Plays the frames in order. `_sent` counts content events that went out; each fault happens once."""

    def __init__(self, scene: Scene, wire: Wire) -> None:
        self._scene = scene
        self._behaviour = scene.behaviour
        self._wire = wire
        self._sent = 0
        self._held: list[bytes] = []  # for one_block
        self._stalled = False
        self._garbled = False

    async def run(self) -> Ending:
        if self._behaviour.error_after == 0:
            await self._write(self._scene.failure_frame())
            return await self._end(Ending.COMPLETE)
        ending: Ending | None = None
        for frame in self._scene.frames:
            if frame.kind is not FrameKind.OPENING:
                ending = await self._before(frame)
            if ending is not None:
                return await self._end(ending)
            await self._write(frame.data)
            self._sent += frame.kind is FrameKind.CONTENT
        return await self._end(Ending.COMPLETE)

    async def _before(self, frame: Frame) -> Ending | None:
        """What is due before this frame goes out: faults first, then the wait for a delta."""
        behaviour, last = self._behaviour, frame.kind is not FrameKind.CONTENT
        if not self._garbled and self._due(behaviour.garble_after, last):
            self._garbled = True
            await self._write(self._scene.garbled)
        if not self._stalled and self._due(behaviour.stall_after, last):
            self._stalled = True
            await self._flush()
            await self._wait(behaviour.stall_for)
        if self._due(behaviour.error_after, last):
            await self._write(self._scene.failure_frame())
            return Ending.COMPLETE
        if self._due(behaviour.reset_after, last):
            return Ending.RESET
        if self._due(behaviour.cut_after, last):
            return Ending.COMPLETE
        if self._due(behaviour.cut_mid_chunk, last):
            await self._flush()
            await self._wire.write_half(frame.data)
            return Ending.CLOSE
        if not last:
            await self._wait(self._scene.pause if self._sent else self._scene.delay)
        return None

    def _due(self, after: int | None, last: bool) -> bool:
        return after is not None and (self._sent >= after or last)

    async def _wait(self, seconds: float) -> None:
        """Sleep, with bytes that keep the stream alive in between, if the API has any."""
        if not seconds:
            return
        every = self._behaviour.pings
        if every is None or not self._scene.keepalive:
            await trio.sleep(seconds)
            return
        end = trio.current_time() + seconds
        while end - trio.current_time() > every:
            await trio.sleep(every)
            await self._write(self._scene.keepalive)
            await self._flush()
        await trio.sleep_until(end)

    async def _write(self, data: bytes) -> None:
        if self._behaviour.one_block:
            self._held.append(data)
            return
        await self._wire.begin(self._scene)
        size = self._behaviour.slice_bytes or len(data)
        for at in range(0, len(data), size or 1):
            await self._wire.write(data[at : at + size])

    async def _flush(self) -> None:
        """Let everything so far be on the wire, headers at least."""
        await self._wire.begin(self._scene)
        if self._held:
            await self._wire.write(b"".join(self._held))
            self._held.clear()

    async def _end(self, ending: Ending) -> Ending:
        await self._flush()
        return ending
