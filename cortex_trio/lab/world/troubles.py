"""The catalogue of what goes wrong in a world: with answers, with keys, with the way to a provider."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import final

import attrs

from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from ...simulator.link import Link

FOR_GOOD = 1e9
LONG_TEXT = 10_000
"""Characters."""

MODEL_LISTS: Mapping[str, Behaviour] = {
    "404": Behaviour(status=404),
    "405": Behaviour(status=405, error_body='{"detail": "Method Not Allowed"}'),
    "a page": Behaviour(html=True),
    "slow": Behaviour(first_token_after=20),
    "silent": Behaviour(silent=True),
}
"""What a server answers to a request for its models, for as long as it is there: many have no such list."""


def _somewhere(draw: random.Random) -> int:
    return draw.choice((0, 0, 1, draw.randint(1, 12), 99))


def _in_pieces(draw: random.Random, good: Behaviour) -> Behaviour:
    """One byte each; a long answer in larger pieces, since each piece costs a step of the loop."""
    return attrs.evolve(good, slice_bytes=1 if len(good.text) < LONG_TEXT else 4_096)


NOTHING_LEFT: Mapping[str, str] = {
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "1s",
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:01Z",  # a second after the simulator's Date
}
"""Headers of a good answer behind which nothing may be asked for a second; each client reads those it knows."""

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
    "in single bytes": _in_pieces,
    "limited for a second": lambda draw, good: Behaviour(error=FailureKind.RATE_LIMIT, retry_after=1),
    "nothing left for a second": lambda draw, good: attrs.evolve(good, headers=NOTHING_LEFT),
    "a page with Retry-After": lambda draw, good: Behaviour(
        status=draw.choice((429, 503)), html=True, retry_after=draw.choice((1, 5, 30))
    ),
    "a packed error": lambda draw, good: Behaviour(
        error=draw.choice((FailureKind.SERVER, FailureKind.OVERLOADED, FailureKind.RATE_LIMIT)),
        packed=draw.choice(("gzip", "deflate")),
        retry_after=draw.choice((None, 1, 5)),
    ),
    "a status of no kind": lambda draw, good: Behaviour(
        status=draw.choice((408, 409, 425)), error_body='{"error": {"message": "Try again."}}'
    ),
    "model not found": lambda draw, good: Behaviour(error=FailureKind.MODEL_NOT_FOUND),
    "forbidden": lambda draw, good: Behaviour(error=FailureKind.PERMISSION),
    "key refused": lambda draw, good: Behaviour(error=FailureKind.CREDENTIAL),
    "reset early": lambda draw, good: Behaviour(reset_at=draw.choice(("request", "headers"))),
    "closed early": lambda draw, good: Behaviour(cut_at=draw.choice(("request", "headers"))),
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
class ConnectionSettings:
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
