"""Which API key is used next: the key ring, and the actor that is its only writer.

`KeyRing` is pure: no clock, no I/O, no Trio. It is made before the supervision tree and handed in, so a KeyManager
that crashed finds every count and position where it left them. Which keys are cooling down stands in `cooldowns`. A
caller writes the result on its lease and then tells the KeyManager; a message that is lost with a dying actor is read
off the lease by the next one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import trio

from ...failures import Failure, FailureKind
from ...otp import GenServer
from ..settings.secrets import ApiKey
from .cooldowns import Cooldown, Cooldowns

SWEEP_SECONDS = 300.0


@attrs.define(eq=False)
class KeyState:
    """One key of one worker, or the None that stands in where none is needed. Only the KeyRing writes."""

    key: ApiKey | None
    usage_count: int = 0
    success_count: int = 0
    rate_limited_count: int = 0
    last_used: float | None = None
    in_use: int = 0


@attrs.define(eq=False)
class Lease:
    """A key on loan for one attempt: the borrower makes it, the KeyManager fills it in, the borrower settles it.

    The borrower owns it from the start, so one that is cancelled while it waits for a key can settle a loan it never
    heard of. `keys` are those of the endpoint that the attempt will use.
    """

    worker: str
    model: str
    keys: Sequence[ApiKey] = attrs.field(default=(), repr=False)
    state: KeyState | None = attrs.field(default=None, repr=False)  # None: nothing was lent (yet)
    settled: bool = False  # written once, by the borrower
    failure: Failure | None = None  # None with settled: it was served, or nothing was learnt about the key

    @property
    def key(self) -> ApiKey | None:
        return self.state.key if self.state else None


@attrs.frozen
class Blocked:
    """No key to lend before `until` (Trio time)."""

    until: float
    kind: FailureKind


Choose = Callable[[Sequence[KeyState]], KeyState]

CHOOSE: Mapping[str, Choose | None] = {
    "round_robin": None,  # by turn: looks only at the keys whose turn it is, and not at all that are free
    "least_used": lambda free: min(free, key=lambda state: (state.in_use, state.usage_count)),
    "random": random.choice,
}


class KeyRing:
    """All keys of all workers. `now` is always a parameter; nothing here waits."""

    def __init__(self, cooldowns: Cooldowns, strategy: str = "round_robin") -> None:
        self._cooldowns = cooldowns
        self.set_strategy(strategy)
        self._keys: dict[str, list[KeyState]] = {}
        self._turn: dict[str, int] = {}
        self._leases: set[Lease] = set()

    def set_strategy(self, strategy: str) -> None:
        self._choose = CHOOSE[strategy]

    def set_keys(self, worker: str, keys: Iterable[ApiKey]) -> None:
        """Give `worker` these keys. One that was there before keeps its counts and cooldowns.

        A worker without keys has one entry, whose key is None.
        """
        keys = tuple(keys)
        self._keys[worker] = self._states(worker, keys)
        for state, key in zip(self._keys[worker], keys, strict=False):  # none of a worker without keys
            state.key = key  # equal, but another object: then `_states` need not compare keys at each request
        self._cooldowns.keep_keys(worker, keys)

    def remove(self, worker: str) -> None:
        self._keys.pop(worker, None)
        self._turn.pop(worker, None)
        self._cooldowns.forget(worker)

    def _states(self, worker: str, keys: Sequence[ApiKey]) -> list[KeyState]:
        """The states of `keys`; those that a reload has taken away meanwhile get one for the occasion."""
        ring, wanted = self._keys.get(worker, []), keys or (None,)
        if len(ring) == len(wanted) and all(map(_has_key, ring, wanted)):
            return ring
        known = {state.key: state for state in ring}
        return [known.get(key) or KeyState(key) for key in wanted]

    def lend(self, lease: Lease, now: float, avoid: frozenset[ApiKey] = frozenset()) -> Blocked | None:
        """Fill in `lease` with a key; `avoid` holds those this call has already tried.

        If all are cooling down, one that may be tried is lent all the same. A time that the provider named is
        waited for.
        """
        if lease.settled:
            return None  # the borrower left before its turn came
        ring = self._states(lease.worker, lease.keys)
        state = self._free(lease, ring, now, avoid) or self._to_try(lease, ring, now, avoid)
        if state is None:
            return self._blocked(lease, now, avoid)
        state.usage_count += 1
        state.in_use += 1
        state.last_used = now
        lease.state = state
        self._leases.add(lease)
        return None

    def _free(
        self, lease: Lease, ring: list[KeyState], now: float, avoid: frozenset[ApiKey]
    ) -> KeyState | None:
        """One that is not cooling down, by the strategy; None if all are."""
        worker = lease.worker
        if self._choose is not None:
            free = [
                state
                for state in ring
                if state.key not in avoid and self._cooldown(lease, state, now) is None
            ]
            return self._choose(free) if free else None
        # By the place in the whole ring, so that one key that cools down does not shift the others.
        start = self._turn.get(worker, -1) + 1
        for turn in range(start, start + len(ring)):
            state = ring[turn % len(ring)]
            if state.key not in avoid and self._cooldown(lease, state, now) is None:
                self._turn[worker] = turn
                return state
        return None

    def _to_try(
        self, lease: Lease, ring: list[KeyState], now: float, avoid: frozenset[ApiKey]
    ) -> KeyState | None:
        """Of those that may be tried again the one whose cooldown ends first."""
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
        """Take back a settled lease and count. A second report of the same lease changes nothing."""
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
        """Forget cooldowns that are long over, and settle leases whose report was lost with a dying KeyManager."""
        for lease in [lease for lease in self._leases if lease.settled]:
            self.report(lease)
        self._cooldowns.sweep(now)

    def states(self, worker: str) -> Sequence[KeyState]:
        return tuple(self._keys.get(worker, ()))

    @property
    def workers(self) -> Sequence[str]:
        """The names of the workers it has keys of."""
        return tuple(self._keys)

    @property
    def leased(self) -> int:
        """Keys on loan at the moment."""
        return len(self._leases)


def _has_key(state: KeyState, key: ApiKey | None) -> bool:
    return state.key is key


class KeyManager(GenServer):
    """The only writer of the key ring. Lends keys, takes them back, sweeps every five minutes."""

    messages_per_turn = 32  # no handler waits; with 1, a request beside nine others took a fifth more CPU

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def init(self) -> None:
        self._ring.sweep(trio.current_time())
        self.send_after(SWEEP_SECONDS, "sweep")

    async def lease(self, lease: Lease, avoid: frozenset[ApiKey] = frozenset()) -> Blocked | None:
        """Fill in the caller's lease, or say until when there is no key."""
        return self._ring.lend(lease, trio.current_time(), avoid)

    async def report(self, lease: Lease) -> None:
        """Take a settled lease back."""
        self._ring.report(lease)

    async def set_keys(self, worker: str, keys: tuple[ApiKey, ...]) -> None:
        """Give `worker` these keys from now on."""
        self._ring.set_keys(worker, keys)

    async def set_strategy(self, strategy: str) -> None:
        self._ring.set_strategy(strategy)

    async def remove(self, worker: str) -> None:
        self._ring.remove(worker)

    async def sweep(self) -> None:
        self._ring.sweep(trio.current_time())

    async def handle_info(self, message: object) -> None:
        if message == "sweep":
            self._ring.sweep(trio.current_time())
            self.send_after(SWEEP_SECONDS, "sweep")
