"""Names for refs, removed in the same step in which their process exits. A plain object: no task, no waiting."""

from typing import Generic, TypeVar, final

import attrs

from .errors import AlreadyRegistered, NoProcess
from .process import Process
from .ref import Ref, S

K = TypeVar("K")


@attrs.frozen(eq=False)
class _Entry(Generic[K, S]):
    key: K
    ref: Ref[S]
    process: Process  # the incarnation that was registered; its exit removes the entry
    value: object


_Entries = dict[_Entry[K, S], None]


@final
class Registry(Generic[K, S]):
    """Names for refs. A plain object, not a process: Trio is single threaded, so every operation is atomic.

    A restarted process is not registered until it registers again, usually in `init`. An exit removes all keys of
    the process before any other task runs; Elixir does so a little later. Keys compare like dict keys: 1, 1.0 and
    True are one key; in Elixir they are three.

    Args:
        unique: whether a key may have one running process only. Otherwise it may have many refs, and one ref several
            times.
    """

    def __init__(self, *, unique: bool = True) -> None:
        self._unique = unique
        # Dicts as ordered sets: to remove an entry must not take longer the more entries there are.
        self._by_key: dict[K, _Entries[K, S]] = {}
        self._by_owner: dict[Process, _Entries[K, S]] = {}  # the same entries

    def register(self, key: K, ref: Ref[S], value: object = None) -> None:
        """Register the current process of `ref` as `key`, until it exits.

        Args:
            key: any hashable value.
            ref: the ref to find.
            value: what `lookup` returns with it.

        Raises:
            AlreadyRegistered: the registry is unique, and `key` belongs to a running process.
            NoProcess: there is no process behind `ref`.
        """
        process = ref.process
        if process is None:
            raise NoProcess(f"there is no process behind {ref.name!r}: it cannot be registered as {key!r}")
        if self._unique and key in self._by_key:
            raise AlreadyRegistered(f"{key!r} belongs to {next(iter(self._by_key[key])).ref.name!r}")
        entry = _Entry(key, ref, process, value)
        self._by_key.setdefault(key, {})[entry] = None
        self._by_owner.setdefault(process, {})[entry] = None
        process.watchers.add(self)

    def unregister(self, key: K, ref: Ref[S]) -> None:
        """Remove all entries of the current process of `ref` with `key`. No effect if there are none."""
        owned = self._owned(ref)
        fewer = min(owned, self._by_key.get(key, {}), key=len)
        for entry in [entry for entry in fewer if entry.key == key and entry.process is ref.process]:
            del owned[entry]
            self._forget(entry)

    def whereis(self, key: K) -> Ref[S] | None:
        """Return the ref registered as `key`; None if there is none.

        Raises:
            ValueError: the registry is not unique.
        """
        if not self._unique:
            raise ValueError("whereis needs a unique registry; use lookup")
        return next((entry.ref for entry in self._by_key.get(key, ())), None)

    def lookup(self, key: K) -> list[tuple[Ref[S], object]]:
        """Return all refs registered as `key`, with their values, in the order of registration."""
        return [(entry.ref, entry.value) for entry in self._by_key.get(key, ())]

    def keys(self, ref: Ref[S]) -> list[K]:
        """Return the keys of the current process of `ref` in the order of registration; a key may be there twice."""
        return [entry.key for entry in self._owned(ref)]

    def process_ended(self, process: Process, /) -> None:
        """For `Process`: it exited; remove its keys."""
        for entry in self._by_owner.pop(process, ()):
            self._forget(entry)

    def _owned(self, ref: Ref[S]) -> _Entries[K, S]:
        return {} if ref.process is None else self._by_owner.get(ref.process, {})

    def _forget(self, entry: _Entry[K, S]) -> None:
        del self._by_key[entry.key][entry]
        if not self._by_key[entry.key]:
            del self._by_key[entry.key]
