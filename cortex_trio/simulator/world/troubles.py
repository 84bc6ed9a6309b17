"""The catalogue of what goes wrong in a world: with answers, with keys, with the way to a provider."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from ...failures import FailureKind
from ..behaviour import Behaviour
from ..link import Link

FOR_GOOD = 1e9


def _somewhere(draw: random.Random) -> int:
    return draw.choice((0, 0, 1, draw.randint(1, 12), 99))


TROUBLES: Mapping[str, Callable[[random.Random, str], Behaviour]] = {
    "overloaded": lambda draw, text: Behaviour(
        error=FailureKind.OVERLOADED, retry_after=draw.choice((None, None, 5, 30))
    ),
    "server errors": lambda draw, text: Behaviour(error=FailureKind.SERVER),
    "silent": lambda draw, text: Behaviour(silent=True),
    "slow": lambda draw, text: Behaviour(
        text=text, first_token_after=draw.uniform(1, 40), tokens_per_second=2
    ),
    "cut": lambda draw, text: Behaviour(text=text, cut_after=_somewhere(draw)),
    "cut in a chunk": lambda draw, text: Behaviour(text=text, cut_mid_chunk=_somewhere(draw)),
    "reset": lambda draw, text: Behaviour(text=text, reset_after=_somewhere(draw)),
    "stalled": lambda draw, text: Behaviour(
        text=text, stall_after=_somewhere(draw), stall_for=draw.choice((3.0, 20.0, FOR_GOOD))
    ),
    "garbled": lambda draw, text: Behaviour(text=text, garble_after=_somewhere(draw)),
    "overloaded in the stream": lambda draw, text: Behaviour(
        text=text, error=FailureKind.OVERLOADED, error_after=_somewhere(draw)
    ),
    "no end": lambda draw, text: Behaviour(text=text, no_terminal=True),
    "empty": lambda draw, text: Behaviour(text=""),
    "a portal's page": lambda draw, text: Behaviour(html=True),
    "rate limited": lambda draw, text: Behaviour(
        error=FailureKind.RATE_LIMIT, retry_after=draw.choice((None, 1, 7, 40, 200))
    ),
    "no credit": lambda draw, text: Behaviour(error=FailureKind.QUOTA),
    "a proxy's error": lambda draw, text: Behaviour(error=FailureKind.EDGE),
    "closes when idle": lambda draw, text: Behaviour(text=text, close_idle=True),
    "loses the race of keep-alive": lambda draw, text: Behaviour(text=text, close_on_reuse=True),
    "in single bytes": lambda draw, text: Behaviour(text=text, slice_bytes=1),
}
"""What requests get while it lasts."""


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
"""What happens to the way while it lasts; afterwards it is as before."""

MOMENTS: Mapping[str, Callable[[Link], None]] = {
    "connections reset": Link.reset_connections,
    "connections forgotten": Link.forget_connections,
}
"""What happens in a moment."""
