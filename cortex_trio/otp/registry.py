"""Names for refs, gone the moment their process is. A plain object: no task, no waiting."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, final

import attrs

from .errors import AlreadyRegistered, NoProcess
from .gen_server import GenServer
from .process import Process
from .ref import Ref

K = TypeVar("K")
S = TypeVar("S", bound=GenServer)


@attrs.frozen(eq=False)
class _Entry(Generic[S]):
    ref: Ref[S]
    process: Process[S]  # the owner: an entry ends with the incarnation that was there when it was made
    value: object


@final
class Registry(Generic[K, S]):
    """Names for refs. A plain object, not a process: Trio is single threaded, so every operation is atomic.

    `unique`: one live process per key. Otherwise a key may lead to many refs, and to one ref several times.
    Keys compare like dict keys: 1, 1.0 and True are the same key (Elixir tells them apart). A restarted process
    is not registered until it registers again, usually in `init`. Elixir cleans up a little after the end; here
    an exit frees all keys before anybody can look.
    """

    def __init__(self, *, unique: bool = True) -> None:
        self._unique = unique
        self._entries: dict[K, list[_Entry[S]]] = {}
        self._keys: dict[Process[S], list[K]] = {}  # the same entries by owner, with repeats

    def register(self, key: K, ref: Ref[S], value: object = None) -> None:
        """Until the current process of `ref` exits. AlreadyRegistered if unique and taken by a live process.

        NoProcess if nobody is behind `ref`.
        """
        process = ref.process
        if process is None:
            raise NoProcess(f"nobody is behind {ref.name!r}: it cannot be registered as {key!r}")
        if self._unique and key in self._entries:
            raise AlreadyRegistered(f"{key!r} is held by {self._entries[key][0].ref.name!r}")
        self._entries.setdefault(key, []).append(_Entry(ref, process, value))
        self._keys.setdefault(process, []).append(key)
        process.watchers.add(self)

    def unregister(self, key: K, ref: Ref[S]) -> None:
        """Remove every entry `ref` has under `key`; without effect if it has none."""
        if ref.process is not None and key in self._keys.get(ref.process, ()):
            self._remove(key, ref.process)
            kept = [other for other in self._keys[ref.process] if other != key]
            self._keys[ref.process] = kept

    def whereis(self, key: K) -> Ref[S] | None:
        """The one ref registered as `key`. ValueError in a registry that is not unique."""
        if not self._unique:
            raise ValueError("whereis needs a unique registry; use lookup")
        return self._entries[key][0].ref if key in self._entries else None

    def lookup(self, key: K) -> list[tuple[Ref[S], object]]:
        """All refs registered as `key`, with their values, oldest first."""
        return [(entry.ref, entry.value) for entry in self._entries.get(key, ())]

    def keys(self, ref: Ref[S]) -> list[K]:
        """The keys of the current process of `ref`, oldest first, with repeats."""
        return [] if ref.process is None else list(self._keys.get(ref.process, ()))

    def on_exit(self, process: Process[Any], /) -> None:
        """For `Process`: forget all its keys."""
        for key in dict.fromkeys(self._keys.pop(process, ())):
            self._remove(key, process)

    def _remove(self, key: K, process: Process[S]) -> None:
        left = [entry for entry in self._entries[key] if entry.process is not process]
        if left:
            self._entries[key] = left
        else:
            del self._entries[key]
