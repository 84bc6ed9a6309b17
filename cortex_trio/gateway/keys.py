"""Whose turn it is, and who is resting: the key ring, and the actor that is its only writer.

`KeyRing` is pure: no clock, no I/O, no Trio. It is made before the supervision tree and handed in, so a
KeyManager that crashed finds every rest, count and position where it left them. A caller writes what came
of its lease on the lease itself and then tells the KeyManager; a telling that is lost with a dying actor is
read off the lease by the next one.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import trio

from ..failures import REACTIONS, Failure, FailureKind, Rest
from ..otp import GenServer
from .secrets import ApiKey

SWEEP_SECONDS = 300.0
LADDER = (10.0, 30.0, 60.0, 120.0)
"""Seconds a key rests after the n-th 429 in a row that named no time."""
QUOTA_REST = (900.0, 3600.0)
"""Seconds a key without credit rests: the first, doubling up to the second."""
ANY_MODEL = ""
MODELS_KNOWN = 1_000
"""Rests that are remembered of one key; callers name what models they like, and memory is bounded."""


@attrs.define
class Rests:
    """Until when (Trio time) a key is not to be used for a model, why, and who says so."""

    until: float
    kind: FailureKind
    declared: bool  # by the provider; otherwise our suspicion, which may be overridden


@attrs.define(eq=False)
class KeyState:
    """One key of one worker, or the None that stands in where none is needed. Only the KeyRing writes."""

    key: ApiKey | None
    rests: dict[str, Rests] = attrs.field(factory=dict)  # by model, ANY_MODEL for all
    strikes: dict[Rest, int] = attrs.field(factory=dict)  # 429s without a hint, quota failures, each in a row
    usage_count: int = 0
    success_count: int = 0
    rate_limited_count: int = 0
    last_used: float | None = None
    in_use: int = 0

    def rest(self, model: str, now: float) -> Rests | None:
        """What keeps this key from serving `model` now: the weightiest of its rests."""
        if not self.rests:
            return None  # asked of every key of every worker, at every request
        found = [r for name in (ANY_MODEL, model) if (r := self.rests.get(name)) and r.until > now]
        return max(found, key=_weight, default=None)

    def add(self, model: str, rest: Rests, now: float) -> None:
        """Let it rest for `model`, unless what keeps it resting already weighs more."""
        known = self.rests.get(model)
        if known is None or known.until <= now or _weight(known) < _weight(rest):
            self.rests[model] = rest
        if len(self.rests) > MODELS_KNOWN:
            del self.rests[next(iter(self.rests))]


def _weight(rest: Rests) -> tuple[bool, float]:
    """What a provider declared goes before any guess of ours, then the longer before the shorter."""
    return rest.declared, rest.until


@attrs.define(eq=False)
class Lease:
    """A key on loan for one attempt: a slip the borrower makes, the KeyManager fills in, the borrower settles.

    The borrower owns it from the start, so one that is cancelled while it waits for a key can settle a loan
    it never heard of.
    """

    worker: str
    model: str
    state: KeyState | None = attrs.field(default=None, repr=False)  # None: nothing was lent (yet)
    strikes: Mapping[Rest, int] = attrs.field(factory=dict, repr=False)  # the key's when it was lent
    settled: bool = False  # written once, by the borrower
    ended_at: float | None = None  # Trio time of that; of the telling, where nobody wrote it
    failure: Failure | None = None  # None with settled: it served, or nothing was learnt about the key

    @property
    def key(self) -> ApiKey | None:
        return self.state.key if self.state else None


@attrs.frozen
class Blocked:
    """No key to lend. `until` is Trio time; infinity means: not before the configuration changes."""

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

    def __init__(self, strategy: str = "round_robin", rate_limit_rest: float | None = None) -> None:
        self.set_strategy(strategy, rate_limit_rest)
        self._keys: dict[str, list[KeyState]] = {}
        self._turn: dict[str, int] = {}
        self._leases: set[Lease] = set()

    def set_strategy(self, strategy: str, rate_limit_rest: float | None = None) -> None:
        self._choose = CHOOSE[strategy]
        self._rate_limit_rest = rate_limit_rest

    def set_keys(self, worker: str, keys: Iterable[ApiKey]) -> None:
        """Give `worker` these keys. One that was there before keeps its state, its rests included.

        A worker without keys can be told to wait as well: it has one entry, whose key is None.
        """
        known = {state.key: state for state in self._keys.get(worker, ())}
        self._keys[worker] = [known.get(key) or KeyState(key) for key in tuple(keys) or (None,)]

    def remove(self, worker: str) -> None:
        self._keys.pop(worker, None)
        self._turn.pop(worker, None)

    def lend(self, lease: Lease, now: float, avoid: frozenset[ApiKey] = frozenset()) -> Blocked | None:
        """Fill in `lease` with a key; `avoid` holds those this call has already tried.

        If all are resting on suspicion alone, the one that is due first is lent all the same:
        waiting on a guess helps nobody. What the provider itself declared is honoured.
        """
        worker, model = lease.worker, lease.model
        if lease.settled:
            return None  # the borrower left before its turn came
        state = self._free(worker, model, now, avoid) or self._suspected(worker, model, now, avoid)
        if state is None:
            return self._blocked(worker, model, now)
        state.usage_count += 1
        state.in_use += 1
        state.last_used = now
        lease.state, lease.strikes = state, dict(state.strikes)
        self._leases.add(lease)
        return None

    def _free(self, worker: str, model: str, now: float, avoid: frozenset[ApiKey]) -> KeyState | None:
        """One that does not rest, by the strategy; None if all do."""
        ring = self._keys.get(worker, ())
        if self._choose is not None:
            free = [state for state in ring if state.key not in avoid and state.rest(model, now) is None]
            return self._choose(free) if free else None
        # By the place in the whole ring, so that one resting key does not shift the others.
        start = self._turn.get(worker, -1) + 1
        for turn in range(start, start + len(ring)):
            state = ring[turn % len(ring)]
            if state.key not in avoid and state.rest(model, now) is None:
                self._turn[worker] = turn
                return state
        return None

    def _suspected(self, worker: str, model: str, now: float, avoid: frozenset[ApiKey]) -> KeyState | None:
        """Of those that rest on suspicion alone, the one that is due first."""
        suspected = [
            (rest.until, place, state)
            for place, state in enumerate(self._keys.get(worker, ()))
            if state.key not in avoid and (rest := state.rest(model, now)) and not rest.declared
        ]
        return min(suspected)[2] if suspected else None

    def available(self, worker: str, model: str, now: float) -> Blocked | None:
        """None if a key could be lent now; what stands in the way otherwise."""
        states = self._keys.get(worker)
        if not states:
            return None
        for state in states:  # nearly always the first is free
            rest = state.rest(model, now)
            if rest is None or not rest.declared:
                return None
        return self._blocked(worker, model, now)

    def resting(self, worker: str, model: str, now: float) -> Blocked | None:
        """None if some key does not rest; otherwise the first rest to end, be it a guess that may be overridden."""
        states = self._keys.get(worker, ())
        if not states or any(state.rest(model, now) is None for state in states):
            return None
        return self._blocked(worker, model, now)

    def is_suspect(self, worker: str, model: str, now: float) -> bool:
        """Every key rests, on a guess of ours at least one: to be asked when nobody else is left."""
        guessed = False
        for state in self._keys.get(worker, ()):
            rest = state.rest(model, now)
            if rest is None:
                return False
            guessed |= not rest.declared
        return guessed

    def _blocked(self, worker: str, model: str, now: float) -> Blocked:
        rests = [rest for state in self._keys.get(worker, ()) if (rest := state.rest(model, now))]
        first = min(rests, key=lambda rest: rest.until, default=None)
        return Blocked(first.until, first.kind) if first else Blocked(now, FailureKind.RATE_LIMIT)

    def report(self, lease: Lease, now: float) -> None:
        """Take back a settled lease and learn from it. A second report of the same lease changes nothing."""
        state = lease.state
        if state is None or lease not in self._leases:
            return
        self._leases.discard(lease)
        state.in_use -= 1
        if lease.ended_at is not None:
            now = lease.ended_at  # rests are counted from when it ended, not from when that is heard
        if lease.failure is None:
            state.success_count += 1
            state.strikes.clear()
        else:
            self._learn(state, lease, lease.failure, now)

    def _learn(self, state: KeyState, lease: Lease, failure: Failure, now: float) -> None:
        """Let the key rest. Strikes go by those at the time of lending: what fails together failed once."""
        model, declared, rest = lease.model, True, REACTIONS[failure.kind].rest
        strikes = lease.strikes.get(rest, 0)
        match rest:
            case Rest.KEY:
                where, seconds = ANY_MODEL, math.inf
            case Rest.KEY_MODEL_FOR_GOOD:
                where, seconds = model, math.inf
            case Rest.KEY_QUOTA:
                doubled = min(QUOTA_REST[0] * 2.0**strikes, QUOTA_REST[1])
                where, seconds = ANY_MODEL, failure.retry_after or doubled
                self._strike(state, rest, strikes)
            case Rest.KEY_MODEL:
                state.rate_limited_count += 1
                where, declared = model, failure.retry_after is not None
                seconds = failure.retry_after if failure.retry_after is not None else self._guess(strikes)
                if not declared:
                    self._strike(state, rest, strikes)
            case Rest.NOTHING | Rest.BREAKER | Rest.BREAKER_HALF | Rest.MODEL | Rest.PROVIDER:
                return
        state.add(where, Rests(now + seconds, failure.kind, declared), now)

    def _guess(self, strikes: int) -> float:
        if self._rate_limit_rest is not None:
            return self._rate_limit_rest
        return LADDER[min(strikes, len(LADDER) - 1)]

    def _strike(self, state: KeyState, rest: Rest, strikes: int) -> None:
        state.strikes[rest] = max(state.strikes.get(rest, 0), strikes + 1)

    def rest_key(self, lease: Lease, seconds: float, now: float) -> None:
        """A header said this key's bucket is empty: let it rest for the model before it is refused."""
        if lease.state:
            lease.state.add(lease.model, Rests(now + seconds, FailureKind.RATE_LIMIT, True), now)

    def forgive(self, worker: str) -> None:
        """The configuration was changed by hand: forget the rests that were waiting for just that."""
        for state in self._keys.get(worker, ()):
            state.rests = {model: rest for model, rest in state.rests.items() if math.isfinite(rest.until)}

    def accept(self, worker: str, key: ApiKey | None) -> None:
        """A free probe was let in with `key`: if it rested for its credential, it is given another chance."""
        for state in self._keys.get(worker, ()):
            if state.key == key:
                state.rests = {m: r for m, r in state.rests.items() if r.kind is not FailureKind.CREDENTIAL}

    def refuse(self, worker: str, key: ApiKey | None, now: float) -> None:
        """A free probe was not let in with `key`."""
        for state in self._keys.get(worker, ()):
            if state.key == key:
                state.add(ANY_MODEL, Rests(math.inf, FailureKind.CREDENTIAL, True), now)

    def sweep(self, now: float) -> None:
        """Forget rests that are over, and settle leases whose report was lost with a dying KeyManager."""
        for lease in [lease for lease in self._leases if lease.settled]:
            self.report(lease, now)
        for states in self._keys.values():
            for state in states:
                state.rests = {model: rest for model, rest in state.rests.items() if rest.until > now}

    def states(self, worker: str) -> Sequence[KeyState]:
        return tuple(self._keys.get(worker, ()))

    @property
    def leased(self) -> int:
        """Keys on loan at the moment."""
        return len(self._leases)


class KeyManager(GenServer):
    """The only writer of the key ring. Lends keys, takes them back, sweeps every five minutes."""

    messages_per_turn = 32  # no handler waits; with 1, a request beside nine others took a fifth more CPU

    def __init__(self, ring: KeyRing, changed: Callable[[str], None] = lambda worker: None) -> None:
        self._ring = ring
        self._changed = changed  # told the name of a worker whose keys began to rest or were accepted again

    async def init(self) -> None:
        self._ring.sweep(trio.current_time())
        self.send_after(SWEEP_SECONDS, "sweep")

    async def lease(self, lease: Lease, avoid: frozenset[ApiKey] = frozenset()) -> Blocked | None:
        """Fill in the caller's lease, or say until when there is no key."""
        return self._ring.lend(lease, trio.current_time(), avoid)

    async def report(self, lease: Lease) -> None:
        """Take a settled lease back."""
        self._ring.report(lease, trio.current_time())
        if lease.failure is not None:
            self._changed(lease.worker)

    async def rest_key(self, lease: Lease, seconds: float) -> None:
        self._ring.rest_key(lease, seconds, trio.current_time())
        self._changed(lease.worker)

    async def accept(self, worker: str, key: ApiKey | None) -> None:
        self._ring.accept(worker, key)
        self._changed(worker)

    async def refuse(self, worker: str, key: ApiKey | None) -> None:
        self._ring.refuse(worker, key, trio.current_time())
        self._changed(worker)

    async def set_keys(self, worker: str, keys: tuple[ApiKey, ...]) -> None:
        """Give `worker` these keys from now on; what rests until the configuration changes has been changed."""
        self._ring.set_keys(worker, keys)
        self._ring.forgive(worker)

    async def set_strategy(self, strategy: str, rate_limit_rest: float | None) -> None:
        self._ring.set_strategy(strategy, rate_limit_rest)

    async def remove(self, worker: str) -> None:
        self._ring.remove(worker)

    async def sweep(self) -> None:
        self._ring.sweep(trio.current_time())

    async def handle_info(self, message: object) -> None:
        if message == "sweep":
            self._ring.sweep(trio.current_time())
            self.send_after(SWEEP_SECONDS, "sweep")
