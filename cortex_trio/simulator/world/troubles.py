"""The catalogue of what goes wrong in a world: with answers, with keys, with the way to a provider."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import final

import attrs

from ...failures import FailureKind
from ..behaviour import Behaviour
from ..link import Link

FOR_GOOD = 1e9


def _somewhere(draw: random.Random) -> int:
    return draw.choice((0, 0, 1, draw.randint(1, 12), 99))


TROUBLES: Mapping[str, Callable[[random.Random, Behaviour], Behaviour]] = {
    "overloaded": lambda draw, good: Behaviour(
        error=FailureKind.OVERLOADED, retry_after=draw.choice((None, None, 5, 30))
    ),
    "server errors": lambda draw, good: Behaviour(error=FailureKind.SERVER),
    "silent": lambda draw, good: Behaviour(silent=True),
    "slow": lambda draw, good: attrs.evolve(
        good, first_token_after=draw.uniform(1, 40), tokens_per_second=2.0
    ),
    "cut": lambda draw, good: attrs.evolve(good, cut_after=_somewhere(draw)),
    "cut in a chunk": lambda draw, good: attrs.evolve(good, cut_mid_chunk=_somewhere(draw)),
    "reset": lambda draw, good: attrs.evolve(good, reset_after=_somewhere(draw)),
    "stalled": lambda draw, good: attrs.evolve(
        good, stall_after=_somewhere(draw), stall_for=draw.choice((3.0, 20.0, FOR_GOOD))
    ),
    "garbled": lambda draw, good: attrs.evolve(good, garble_after=_somewhere(draw)),
    "overloaded in the stream": lambda draw, good: attrs.evolve(
        good, error=FailureKind.OVERLOADED, error_after=_somewhere(draw)
    ),
    "no end": lambda draw, good: attrs.evolve(good, no_terminal=True),
    "empty": lambda draw, good: Behaviour(text=""),
    "a portal's page": lambda draw, good: Behaviour(html=True),
    "rate limited": lambda draw, good: Behaviour(
        error=FailureKind.RATE_LIMIT, retry_after=draw.choice((None, 1, 7, 40, 200))
    ),
    "no credit": lambda draw, good: Behaviour(error=FailureKind.QUOTA),
    "a proxy's error": lambda draw, good: Behaviour(error=FailureKind.EDGE),
    "closes when idle": lambda draw, good: attrs.evolve(good, close_idle=True),
    "loses the race of keep-alive": lambda draw, good: attrs.evolve(good, close_on_reuse=True),
    "in single bytes": lambda draw, good: attrs.evolve(good, slice_bytes=1),
}
"""What requests get while it lasts, instead of a good answer."""


def _worse(link: Link) -> None:
    link.latency, link.jitter = 0.8, 2.0


def _narrow(link: Link) -> None:
    link.bandwidth = 2_000.0


def _refuse(link: Link) -> None:
    link.refusing = True


LINK_TROUBLES: Mapping[str, Callable[[Link], None]] = {
    "partition": Link.partition,
    "latency": _worse,
    "narrow": _narrow,
    "refused": _refuse,
}
"""What happens to the way while it lasts."""


@final
class Way:
    """The way to one provider, and what is wrong with it; troubles may overlap, each ends for itself."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._usual = link.latency, link.jitter, link.bandwidth, link.refusing
        self._lasting: list[str] = []

    def begin(self, what: str) -> None:
        self._lasting.append(what)
        LINK_TROUBLES[what](self._link)

    def end(self, what: str) -> None:
        self._lasting.remove(what)
        self._link.latency, self._link.jitter, self._link.bandwidth, self._link.refusing = self._usual
        if "partition" not in self._lasting:
            self._link.heal()
        for other in self._lasting:
            LINK_TROUBLES[other](self._link)

    def end_all(self) -> None:
        for what in tuple(self._lasting):
            self.end(what)


MOMENTS: Mapping[str, Callable[[Link], None]] = {
    "connections reset": Link.reset_connections,
    "connections forgotten": Link.forget_connections,
}
"""What happens in a moment."""
