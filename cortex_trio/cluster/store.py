"""What a gateway needs of a store that several processes share, as two protocols.

A `Store` says where the shared state is. A gateway opens a `StoreLink` to it and keeps it open; one task uses it. All
methods of a link may take any time or fail with StoreUnavailable: no caller of a gateway waits for them. The expiry of
what is stored is the work of the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import attrs
import trio

from ..failures import CortexError
from .entry import Entry


class StoreUnavailable(CortexError):
    """The store cannot be reached, has refused a command, or has ended the link. The text never has a password."""


@attrs.frozen
class Claim:
    """The part of a limit that one process has. It uses this part up without asking the store."""

    granted: float
    """Its size. What the process has used of it counts as well."""
    seconds: float
    """The time left until the limit is whole again."""
    window: str
    """The id of the time for which the limit holds. With another id all claims have begun anew."""


class StoreLink(Protocol):
    """An open link to a store. Every method raises StoreUnavailable when the store does not do it."""

    async def subscribe(self) -> trio.MemoryReceiveChannel[Entry]:
        """Receive from now on what any process puts. Call it once, before `snapshot`.

        Returns:
            The entries, those of this link included. The channel ends when entries may have been lost: open another
            link then, and read a snapshot.
        """
        ...

    async def snapshot(self) -> Sequence[Entry]:
        """Return all entries that have not expired, with the time that is left of each."""
        ...

    async def put(self, entry: Entry) -> None:
        """Store an entry if it replaces the stored one (see `replaces`), and pass it to all subscribers."""
        ...

    async def lease(self, name: str, holder: str, seconds: float) -> float:
        """Take a lease, or renew it.

        Args:
            name: of the lease.
            holder: the id of the process.
            seconds: until it ends by itself.

        Returns:
            0 if `holder` has the lease now, otherwise the seconds that are left of the lease of another process.
        """
        ...

    async def release(self, name: str, holder: str) -> None:
        """End a lease of `holder`. Does nothing if another process has it."""
        ...

    async def claim(self, name: str, process: str, amount: float, limit: float, seconds: float) -> Claim:
        """Set how much of a limit one process has: take more of it, or give back. May be repeated.

        Args:
            name: of the limit.
            process: the id of the process.
            amount: how much it wants to have in all; what it has used counts as well. >= 0.
            limit: how much all processes together may have.
            seconds: from the first claim of any process until the limit is whole again.

        Returns:
            At most `amount`; and no more than the process had, where nothing is left of the limit.
        """
        ...

    async def add(self, batch: str, amounts: Mapping[str, float]) -> Mapping[str, float]:
        """Add amounts to the totals of all processes, each batch once: it may be repeated when its result is lost.

        Args:
            batch: a random id.
            amounts: by the name of the total; may be empty, to read the totals.

        Returns:
            All totals.
        """
        ...

    async def beat(self, process: str, seconds: float) -> int:
        """Report that a process runs, for so many seconds; 0 reports its end. Returns how many processes run."""
        ...


class Store(Protocol):
    """State that several processes share: MemoryStore, ValkeyStore, or one of the user's own."""

    @property
    def place(self) -> str:
        """Where it is, for log lines; without a password."""
        ...

    @property
    def salt(self) -> str:
        """Is hashed together with each API key: names in the store are such hashes. Equal in all processes."""
        ...

    def open_link(self, process: str) -> AbstractAsyncContextManager[StoreLink]:
        """Open a link.

        Args:
            process: the id of the gateway, for stores that distinguish them.

        Raises:
            StoreUnavailable: on entering; the store cannot be reached, or has refused the password.
        """
        ...
