"""How to hear of the end of a process, once. Knows nothing of what the process did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import attrs
import trio

from .mailbox import Info
from .process import Process
from .reasons import ExitReason

if TYPE_CHECKING:
    from .ref import Ref


@attrs.frozen
class Down:
    """What a monitor delivers, once. reason is None if there was no process to watch (OTP `noproc`)."""

    ref: Ref[Any]
    reason: ExitReason | None


@final
class Monitor:
    """Hears of the end of one process, the one behind `ref` now; never of a later incarnation.

    With a `watcher` the Down is posted to its mailbox, in order with its other messages, and the monitor ends
    with the watcher. A monitor without any reference to it is forgotten.
    """

    def __init__(self, ref: Ref[Any], watcher: Process | None = None) -> None:
        self._ref, self._watched, self._watcher = ref, ref.process, watcher
        self._notice = Info(None)  # holds the Down as soon as it is known
        self._over = trio.Event()  # the Down is known, or the monitor was cancelled
        if watcher is not None:
            watcher.monitors.add(self)
        if self._watched is not None:
            self._watched.watchers.add(self)
        else:
            self.process_ended(None)

    async def down(self) -> Down:
        """Wait for the end. Cancelling the wait leaves the monitor as it was.

        Raises trio.ClosedResourceError if the monitor is cancelled, before or meanwhile, and the end is not known.
        """
        await self._over.wait()
        if not isinstance(self._notice.content, Down):
            raise trio.ClosedResourceError(f"the monitor of {self._ref.name!r} was cancelled")
        return self._notice.content

    def cancel(self) -> None:
        """Nothing is delivered to `handle_info` from here on, even if the end came but was not handled yet."""
        self._over.set()
        if self._watched is not None:
            self._watched.watchers.discard(self)
        if self._watcher is not None:
            self._watcher.mailbox.take_back(self._notice)
            self._watcher.monitors.discard(self)

    def process_ended(self, process: Process | None, /) -> None:
        """For `Process`: it has ended (or, with None, was not there)."""
        self._notice.content = Down(self._ref, None if process is None else process.reason)
        self._over.set()
        if self._watcher is not None:
            self._watcher.monitors.discard(self)
            self._watcher.mailbox.put(self._notice)
