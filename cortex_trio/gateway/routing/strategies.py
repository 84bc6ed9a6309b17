"""In which order workers are asked: one function per strategy. Knows no configuration, no clock and no state.

To add a strategy, write its function here and its name into `Strategy`; the configuration and the command line read
the names from here. This file imports nothing else of the package.

A strategy yields positions of a group, best first, one at a time: nearly every call is served by the first worker, so
only as much of the order is computed as is read. A strategy does not ask whether a worker may be asked now:
`selection.choose` skips those that may not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from random import Random
from typing import Any, Literal, Protocol

Strategy = Literal["priority", "local_first", "round_robin", "least_used", "random", "fastest"]
"""The names of the strategies, for type checkers."""

EXPLORE = 0.05
"""Share of choices with which `fastest` asks another worker, to learn whether it has become faster."""


class Load(Protocol):
    """What a strategy reads of a worker."""

    @property
    def priority(self) -> int:
        """The lowest number is asked first."""
        ...

    @property
    def in_flight(self) -> int:
        """Requests that have not ended."""
        ...

    @property
    def requests(self) -> int:
        """Requests that were admitted since the start."""
        ...

    @property
    def latency(self) -> float | None:
        """Moving average of the time to the first token, in seconds; None before the first answer."""
        ...


class Ranked(Protocol):
    """What a strategy reads of a candidate."""

    @property
    def state(self) -> Load: ...

    @property
    def is_local(self) -> bool:
        """The worker needs no API key, or its server is on this machine."""
        ...


class Group(Protocol):
    """What a strategy reads of a group of candidates. Positions are indexes into the group."""

    @property
    def turn(self) -> int:
        """The position at which the next turn of round robin begins; may be the length of the group."""
        ...

    def __len__(self) -> int: ...

    def sorted_by(self, key: Callable[[Ranked], Any]) -> Sequence[int]:
        """Positions sorted by a key that only another configuration changes."""
        ...

    def ranked_by(self, key: Callable[[Ranked], Any]) -> Iterable[int]:
        """Positions ordered by a key that changes with every request."""
        ...


Order = Callable[[Group, Random], Iterator[int]]
"""A strategy: takes a group and a source of randomness, yields every position once."""

STRATEGIES: dict[Strategy, Order] = {}
"""The strategies by name."""


def strategy(name: Strategy) -> Callable[[Order], Order]:
    """Return a decorator that registers a function as the strategy `name`."""

    def register(order: Order) -> Order:
        STRATEGIES[name] = order
        return order

    return register


@strategy("priority")
def priority(group: Group, rng: Random) -> Iterator[int]:
    """Ask the worker with the lowest priority number first."""
    return iter(group.sorted_by(priority_of))


def as_listed(group: Group, rng: Random) -> Iterator[int]:
    """Ask the workers of an alias in its own order. No strategy of the configuration."""
    return iter(range(len(group)))


@strategy("local_first")
def local_first(group: Group, rng: Random) -> Iterator[int]:
    """Ask workers without API keys or on this machine first, then by priority."""
    return iter(group.sorted_by(_remoteness_of))


@strategy("round_robin")
def round_robin(group: Group, rng: Random) -> Iterator[int]:
    """Start behind the worker that was chosen last."""
    yield from range(group.turn, len(group))
    yield from range(group.turn)


@strategy("least_used")
def least_used(group: Group, rng: Random) -> Iterator[int]:
    """Ask the worker with the fewest requests in flight first, then the one with the fewest requests in total."""
    return iter(group.ranked_by(_use_of))


@strategy("random")
def random(group: Group, rng: Random) -> Iterator[int]:
    """Ask the workers in random order."""
    return _shuffled(range(len(group)), rng)


@strategy("fastest")
def fastest(group: Group, rng: Random) -> Iterator[int]:
    """Ask the worker with the lowest latency first. Workers that were never measured go before all others.

    With the probability EXPLORE, all others go before the fastest one, in random order.
    """
    order = iter(group.ranked_by(_latency_of))
    best = next(order, None)
    if best is None:
        return
    if rng.random() < EXPLORE:
        yield from (position for position in _shuffled(range(len(group)), rng) if position != best)
        yield best
    else:
        yield best
        yield from order


def priority_of(candidate: Ranked) -> int:
    """The lowest number is asked first."""
    return candidate.state.priority


def _remoteness_of(candidate: Ranked) -> tuple[bool, int]:
    return not candidate.is_local, candidate.state.priority


def _use_of(candidate: Ranked) -> tuple[int, int]:
    return candidate.state.in_flight, candidate.state.requests


def _latency_of(candidate: Ranked) -> float:
    return candidate.state.latency or 0.0


def _shuffled(numbers: range, rng: Random) -> Iterator[int]:
    """Yield `numbers` in random order; each is drawn when it is asked for (Fisher and Yates)."""
    moved: dict[int, int] = {}
    for left in range(len(numbers), 0, -1):
        drawn = rng.randrange(left)
        yield numbers[moved.get(drawn, drawn)]
        moved[drawn] = moved.get(left - 1, left - 1)
