"""Which API key is used next: the key ring, and the actor that is its only writer.

`KeyRing` is pure: no clock, no I/O, no Trio. It is made before the supervision tree, so a KeyManager that is restarted
after a crash finds all counts and positions. The cooldowns of keys are in `Cooldowns`. A caller writes the result on
its lease and sends the lease to the KeyManager. If that message is lost because the actor crashes, the restarted actor
finds the result on the lease.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import trio

from ...failures import Failure, FailureKind
from ...otp import GenServer
from ..settings.config import KeyStrategy
from ..settings.secrets import ApiKey
from .cooldowns import Cooldown, Cooldowns

SWEEP_SECONDS = 300.0
"""Seconds between two sweeps of the KeyManager."""


@attrs.define(eq=False)
class KeyState:
    """One API key of one worker. Only the KeyRing writes."""

    key: ApiKey | None
    """None: the one entry of a worker without API keys."""
    usage_count: int = 0
    """How often it was leased."""
    success_count: int = 0
    """Leases that ended with a success, or without a result."""
    rate_limited_count: int = 0
    """Leases that ended with a 429."""
    last_used: float | None = None
    """Trio time of the last lease; None if there was none."""
    in_use: int = 0
    """Leases that have not ended; never negative."""


@attrs.define(eq=False)
class Lease:
    """An API key for the time of one attempt. The caller makes it, the KeyManager fills it in, the caller settles it.

    The caller owns it from the start. A caller that is cancelled while it waits for a key can therefore settle a lease
    of which it never got the result. Invariant: it is in the ring's set of leases from `lend` until `report`.
    """

    worker: str
    model: str
    keys: Sequence[ApiKey] = attrs.field(default=(), repr=False)
    """The API keys of the endpoint that the attempt uses; the lease is for one of them."""
    state: KeyState | None = attrs.field(default=None, repr=False)
    """The leased key. None before; written once, by the KeyRing."""
    settled: bool = False
    """The attempt has ended. Written once by the caller, after `failure`."""
    failure: Failure | None = None
    """None, if the lease is settled: the request succeeded, or its result says nothing of the key."""

    @property
    def key(self) -> ApiKey | None:
        """The leased key; None before, and for a worker without keys."""
        return self.state.key if self.state else None


@attrs.frozen
class Blocked:
    """No API key can be leased: all are cooling down, and none allows a trial."""

    until: float
    """Trio time at which the first of them allows a trial."""
    kind: FailureKind
    """Of the failure that started its cooldown."""


Choose = Callable[[Sequence[KeyState]], KeyState]

CHOOSE: Mapping[KeyStrategy, Choose | None] = {
    "round_robin": None,  # in `_next_in_turn`: it looks only at the keys from the current position on
    "least_used": lambda usable: min(usable, key=lambda state: (state.in_use, state.usage_count)),
    "random": random.choice,
}


class KeyRing:
    """The API keys of all workers. Times are parameters (Trio time); nothing here waits."""

    def __init__(self, cooldowns: Cooldowns, strategy: KeyStrategy = "round_robin") -> None:
        self._cooldowns = cooldowns
        self.set_strategy(strategy)
        self._keys: dict[str, list[KeyState]] = {}  # by worker
        self._turn: dict[str, int] = {}  # by worker: the position that was used last
        self._leases: set[Lease] = set()  # that have a key and were not reported

    def set_strategy(self, strategy: KeyStrategy) -> None:
        """Choose keys by `strategy` from now on."""
        self._choose = CHOOSE[strategy]

    def set_keys(self, worker: str, keys: Iterable[ApiKey]) -> None:
        """Replace the keys of `worker`. A key that stays keeps its counts and cooldowns."""
        keys = tuple(keys)
        self._keys[worker] = self._states(worker, keys)
        # Not strict: a worker without keys has one state and no key.
        for state, key in zip(self._keys[worker], keys, strict=False):
            state.key = key  # an equal key, but the object of the new endpoint: `_states` compares identities
        self._cooldowns.keep_keys(worker, keys)

    def remove(self, worker: str) -> None:
        """Forget `worker`. Leases of its keys can still be reported."""
        self._keys.pop(worker, None)
        self._turn.pop(worker, None)
        self._cooldowns.forget(worker)

    def _states(self, worker: str, keys: Sequence[ApiKey]) -> list[KeyState]:
        """Return the states of `keys`. A key that a reload has removed gets a new state, which is not kept."""
        ring, wanted = self._keys.get(worker, []), keys or (None,)
        if len(ring) == len(wanted) and all(map(_has_key, ring, wanted)):
            return ring
        known = {state.key: state for state in ring}
        return [known.get(key) or KeyState(key) for key in wanted]

    def lend(self, lease: Lease, now: float, avoid: frozenset[ApiKey] = frozenset()) -> Blocked | None:
        """Fill in `lease` with a key.

        A key that is not cooling down is preferred. If all are, one whose cooldown allows a trial is leased.

        Args:
            lease: that has no key. A settled one stays without: its caller has left.
            now: Trio time.
            avoid: keys that this call has already tried.

        Returns:
            None if the lease has a key, or needs none.
        """
        if lease.settled:
            return None  # the caller left before its turn came
        ring = self._states(lease.worker, lease.keys)
        state = self._usable(lease, ring, now, avoid) or self._for_trial(lease, ring, now, avoid)
        if state is None:
            return self._blocked(lease, now, avoid)
        state.usage_count += 1
        state.in_use += 1
        state.last_used = now
        lease.state = state
        self._leases.add(lease)
        return None

    def _usable(
        self, lease: Lease, ring: list[KeyState], now: float, avoid: frozenset[ApiKey]
    ) -> KeyState | None:
        """Return a key that is not cooling down, by the strategy; None if all are."""

        def is_usable(state: KeyState) -> bool:
            return state.key not in avoid and self._cooldown(lease, state, now) is None

        if self._choose is None:
            return self._next_in_turn(lease.worker, ring, is_usable)
        usable = list(filter(is_usable, ring))
        return self._choose(usable) if usable else None

    def _next_in_turn(
        self, worker: str, ring: list[KeyState], is_usable: Callable[[KeyState], bool]
    ) -> KeyState | None:
        """Positions count in the whole ring, so that a key that is cooling down does not shift the others."""
        start = self._turn.get(worker, -1) + 1
        for turn in range(start, start + len(ring)):
            state = ring[turn % len(ring)]
            if is_usable(state):
                self._turn[worker] = turn
                return state
        return None

    def _for_trial(
        self, lease: Lease, ring: list[KeyState], now: float, avoid: frozenset[ApiKey]
    ) -> KeyState | None:
        """Return, of the keys whose cooldown allows a trial, the one whose cooldown ends first."""
        found: KeyState | None = None
        first: Cooldown | None = None
        for state in ring:
            cooldown = self._cooldown(lease, state, now)
            if cooldown is None or state.key in avoid or not cooldown.may_be_tried(now):
                continue
            if first is None or cooldown.until < first.until:
                found, first = state, cooldown
        if found is not None:
            self._cooldowns.begin_trial(lease.worker, lease.model, found.key, now)
        return found

    def _cooldown(self, lease: Lease, state: KeyState, now: float) -> Cooldown | None:
        return self._cooldowns.of_key(lease.worker, lease.model, state.key, now)

    def _blocked(self, lease: Lease, now: float, avoid: frozenset[ApiKey]) -> Blocked:
        keys = [key for key in lease.keys if key not in avoid] or lease.keys
        first = self._cooldowns.of_keys(lease.worker, lease.model, keys, now)
        return Blocked(first.trial_at, first.kind) if first else Blocked(now, FailureKind.RATE_LIMIT)

    def report(self, lease: Lease) -> None:
        """End a settled lease and count its result. A second report of the same lease changes nothing."""
        state = lease.state
        if state is None or lease not in self._leases:
            return
        self._leases.discard(lease)
        state.in_use -= 1
        if lease.failure is None:
            state.success_count += 1
        elif lease.failure.kind is FailureKind.RATE_LIMIT:
            state.rate_limited_count += 1

    def sweep(self, now: float) -> None:
        """Forget old cooldowns, and end settled leases whose report was lost in a crash of the KeyManager."""
        for lease in [lease for lease in self._leases if lease.settled]:
            self.report(lease)
        self._cooldowns.sweep(now)

    def states(self, worker: str) -> Sequence[KeyState]:
        """The keys of `worker`, in the order of its configuration; empty for an unknown worker."""
        return tuple(self._keys.get(worker, ()))

    @property
    def workers(self) -> Sequence[str]:
        """The names of the workers it has keys of."""
        return tuple(self._keys)

    @property
    def leased(self) -> int:
        """Leases that have not ended."""
        return len(self._leases)


def _has_key(state: KeyState, key: ApiKey | None) -> bool:
    return state.key is key


class KeyManager(GenServer):
    """The actor that is the only writer of the key ring. It sweeps every five minutes."""

    # No handler waits. With 1, a request beside nine others takes a fifth more CPU time.
    messages_per_turn = 32

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def init(self) -> None:
        self._ring.sweep(trio.current_time())
        self.send_after(SWEEP_SECONDS, "sweep")

    async def lease(self, lease: Lease, avoid: frozenset[ApiKey] = frozenset()) -> Blocked | None:
        """Do `KeyRing.lend` now."""
        return self._ring.lend(lease, trio.current_time(), avoid)

    async def report(self, lease: Lease) -> None:
        """End a settled lease."""
        self._ring.report(lease)

    async def set_keys(self, worker: str, keys: tuple[ApiKey, ...]) -> None:
        """Replace the keys of `worker`."""
        self._ring.set_keys(worker, keys)

    async def set_strategy(self, strategy: KeyStrategy) -> None:
        """Choose keys by `strategy` from now on."""
        self._ring.set_strategy(strategy)

    async def remove(self, worker: str) -> None:
        """Forget `worker`."""
        self._ring.remove(worker)

    async def sweep(self) -> None:
        """Do `KeyRing.sweep` now."""
        self._ring.sweep(trio.current_time())

    async def handle_info(self, message: object) -> None:
        if message == "sweep":
            self._ring.sweep(trio.current_time())
            self.send_after(SWEEP_SECONDS, "sweep")
