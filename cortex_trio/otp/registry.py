"""Names for refs, gone the moment their process is. A plain object: no task, no waiting."""

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
    process: Process  # the owner: an entry ends with the incarnation that was there when it was made
    value: object


_Entries = dict[_Entry[K, S], None]


@final
class Registry(Generic[K, S]):
    """Names for refs. A plain object, not a process: Trio is single threaded, so every operation is atomic.

    `unique`: one live process per key. Otherwise a key may lead to many refs, and to one ref several times.
    Keys compare like dict keys: 1, 1.0 and True are the same key (Elixir tells them apart). A restarted process
    is not registered until it registers again, usually in `init`. Elixir cleans up a little after the end; here
    an exit frees all keys before any other task runs.
    """

    def __init__(self, *, unique: bool = True) -> None:
        self._unique = unique
        # Dicts as ordered sets: leaving a crowd must not cost a look at each of the others.
        self._by_key: dict[K, _Entries[K, S]] = {}
        self._by_owner: dict[Process, _Entries[K, S]] = {}  # the same entries

    def register(self, key: K, ref: Ref[S], value: object = None) -> None:
        """Until the current process of `ref` exits. AlreadyRegistered if unique and taken by a live process.

        NoProcess if there is none behind `ref`.
        """
        process = ref.process
        if process is None:
            raise NoProcess(f"there is no process behind {ref.name!r}: it cannot be registered as {key!r}")
        if self._unique and key in self._by_key:
            raise AlreadyRegistered(f"{key!r} is held by {next(iter(self._by_key[key])).ref.name!r}")
        entry = _Entry(key, ref, process, value)
        self._by_key.setdefault(key, {})[entry] = None
        self._by_owner.setdefault(process, {})[entry] = None
        process.watchers.add(self)

    def unregister(self, key: K, ref: Ref[S]) -> None:
        """Remove every entry `ref` has under `key`; without effect if it has none."""
        owned = self._owned(ref)
        fewer = min(owned, self._by_key.get(key, {}), key=len)
        for entry in [entry for entry in fewer if entry.key == key and entry.process is ref.process]:
            del owned[entry]
            self._forget(entry)

    def whereis(self, key: K) -> Ref[S] | None:
        """The one ref registered as `key`. ValueError in a registry that is not unique."""
        if not self._unique:
            raise ValueError("whereis needs a unique registry; use lookup")
        return next((entry.ref for entry in self._by_key.get(key, ())), None)

    def lookup(self, key: K) -> list[tuple[Ref[S], object]]:
        """All refs registered as `key`, with their values, oldest first."""
        return [(entry.ref, entry.value) for entry in self._by_key.get(key, ())]

    def keys(self, ref: Ref[S]) -> list[K]:
        """The keys of the current process of `ref`, oldest first, with repeats."""
        return [entry.key for entry in self._owned(ref)]

    def process_ended(self, process: Process, /) -> None:
        """For `Process`: forget all its keys."""
        for entry in self._by_owner.pop(process, ()):
            self._forget(entry)

    def _owned(self, ref: Ref[S]) -> _Entries[K, S]:
        return {} if ref.process is None else self._by_owner.get(ref.process, {})

    def _forget(self, entry: _Entry[K, S]) -> None:
        del self._by_key[entry.key][entry]
        if not self._by_key[entry.key]:
            del self._by_key[entry.key]
