"""The catalogue of faults: of responses, of lists of models, and of the link to a provider."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import final

import attrs

from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from ...simulator.link import Link

NEVER = 1e9
"""Seconds. Longer than any run."""
LONG_TEXT = 10_000
"""Characters."""

Fault = Callable[[random.Random, Behaviour], Behaviour]
"""From the random numbers of a provider and a good answer to what a request gets instead."""

MODEL_LISTS: Mapping[str, Behaviour] = {
    "404": Behaviour(status=404),
    "405": Behaviour(status=405, error_body='{"detail": "Method Not Allowed"}'),
    "web page": Behaviour(html=True),
    "slow": Behaviour(first_token_after=20),
    "silent": Behaviour(silent=True),
}
"""What a provider without a usable list of models answers to a request for it, in good times as well."""
ALL_MODEL_LISTS: Mapping[str, Behaviour] = {**MODEL_LISTS, "503": Behaviour(status=503)}


def _somewhere(draw: random.Random) -> int:
    """A number of events: often before the first one, sometimes behind the last one."""
    return draw.choice((0, 0, 1, draw.randint(1, 12), 99))


def _in_slices(draw: random.Random, good: Behaviour) -> Behaviour:
    """One byte at a time; larger slices for a long answer, since each slice costs a step of the loop."""
    return attrs.evolve(good, slice_bytes=1 if len(good.text) < LONG_TEXT else 4_096)


NO_REQUESTS_LEFT: Mapping[str, str] = {
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "1s",
    "anthropic-ratelimit-requests-remaining": "0",
    "anthropic-ratelimit-requests-reset": "2026-01-01T00:00:01Z",  # one second after the simulator's Date
}
"""Headers of a good answer that allow the next request in one second. Each dialect reads those it knows."""

RESPONSE_FAULTS: Mapping[str, Fault] = {
    "overloaded": lambda draw, good: Behaviour(
        error=FailureKind.OVERLOADED, retry_after=draw.choice((None, None, 5, 30))
    ),
    "server error": lambda draw, good: Behaviour(error=FailureKind.SERVER),
    "silent": lambda draw, good: Behaviour(silent=True),
    "slow": lambda draw, good: attrs.evolve(
        good, first_token_after=draw.uniform(1, 40), tokens_per_second=2.0
    ),
    "cut": lambda draw, good: attrs.evolve(good, cut_after=_somewhere(draw)),
    "cut in an HTTP chunk": lambda draw, good: attrs.evolve(good, cut_mid_chunk=_somewhere(draw)),
    "reset": lambda draw, good: attrs.evolve(good, reset_after=_somewhere(draw)),
    "stalled": lambda draw, good: attrs.evolve(
        good, stall_after=_somewhere(draw), stall_for=draw.choice((3.0, 20.0, NEVER))
    ),
    "malformed event": lambda draw, good: attrs.evolve(good, garble_after=_somewhere(draw)),
    "overloaded in the stream": lambda draw, good: attrs.evolve(
        good, error=FailureKind.OVERLOADED, error_after=_somewhere(draw)
    ),
    "no terminal marker": lambda draw, good: attrs.evolve(good, no_terminal=True),
    "empty answer": lambda draw, good: Behaviour(text=""),
    "captive portal": lambda draw, good: Behaviour(html=True),
    "rate limited": lambda draw, good: Behaviour(
        error=FailureKind.RATE_LIMIT, retry_after=draw.choice((None, 1, 7, 40, 200))
    ),
    "no credit": lambda draw, good: Behaviour(error=FailureKind.QUOTA),
    "proxy error": lambda draw, good: Behaviour(error=FailureKind.EDGE),
    "idle connection closed": lambda draw, good: attrs.evolve(good, close_idle=True),
    "keep-alive race": lambda draw, good: attrs.evolve(good, close_on_reuse=True),
    "small slices": _in_slices,
    "rate limited for 1 s": lambda draw, good: Behaviour(error=FailureKind.RATE_LIMIT, retry_after=1),
    "no requests left for 1 s": lambda draw, good: attrs.evolve(good, headers=NO_REQUESTS_LEFT),
    "web page with Retry-After": lambda draw, good: Behaviour(
        status=draw.choice((429, 503)), html=True, retry_after=draw.choice((1, 5, 30))
    ),
    "compressed error": lambda draw, good: Behaviour(
        error=draw.choice((FailureKind.SERVER, FailureKind.OVERLOADED, FailureKind.RATE_LIMIT)),
        packed=draw.choice(("gzip", "deflate")),
        retry_after=draw.choice((None, 1, 5)),
    ),
    "status 408, 409 or 425": lambda draw, good: Behaviour(
        status=draw.choice((408, 409, 425)), error_body='{"error": {"message": "Try again."}}'
    ),
    "model not found": lambda draw, good: Behaviour(error=FailureKind.MODEL_NOT_FOUND),
    "permission denied": lambda draw, good: Behaviour(error=FailureKind.PERMISSION),
    "API key rejected": lambda draw, good: Behaviour(error=FailureKind.CREDENTIAL),
    "reset before content": lambda draw, good: Behaviour(reset_at=draw.choice(("request", "headers"))),
    "closed before content": lambda draw, good: Behaviour(cut_at=draw.choice(("request", "headers"))),
}
"""What a request gets instead of a good answer."""

HINTS = (0.5, 2, 7, 25, 50)
"""Seconds of a Retry-After, in worlds of one minute."""
MORE_RESPONSE_FAULTS: Mapping[str, Fault] = {
    "rate limited, any hint": lambda draw, good: Behaviour(
        error=FailureKind.RATE_LIMIT, retry_after=draw.choice((None, *HINTS))
    ),
    "overloaded, any hint": lambda draw, good: Behaviour(
        error=FailureKind.OVERLOADED, retry_after=draw.choice((None, *HINTS))
    ),
    "server error, any hint": lambda draw, good: Behaviour(
        error=FailureKind.SERVER, retry_after=draw.choice((None, *HINTS))
    ),
    "no credit, any hint": lambda draw, good: Behaviour(
        error=FailureKind.QUOTA, retry_after=draw.choice((None, *HINTS))
    ),
    "connection refused": lambda draw, good: Behaviour(refuse=True),
    "late": lambda draw, good: attrs.evolve(good, first_token_after=90.0),
    "stalled with pings": lambda draw, good: attrs.evolve(good, stall_after=_somewhere(draw), pings=2.0),
    "server error in the stream": lambda draw, good: attrs.evolve(
        good, error=FailureKind.SERVER, error_after=_somewhere(draw)
    ),
    "JSON that ends too early": lambda draw, good: Behaviour(body=b'{"almost": "JSON'),
    "false content-encoding": lambda draw, good: attrs.evolve(good, headers={"content-encoding": "gzip"}),
    "unknown error": lambda draw, good: Behaviour(error=FailureKind.UNKNOWN),
    "region": lambda draw, good: Behaviour(error=FailureKind.REGION),
    "context too long": lambda draw, good: Behaviour(error=FailureKind.CONTEXT_LENGTH),
    "content policy": lambda draw, good: Behaviour(error=FailureKind.CONTENT_POLICY),
    "bad request": lambda draw, good: Behaviour(error=FailureKind.BAD_REQUEST),
}
"""Faults that end a call, or whose hints suit a world of one minute. Only dense plans draw them."""

ALL_RESPONSE_FAULTS: Mapping[str, Fault] = {**RESPONSE_FAULTS, **MORE_RESPONSE_FAULTS}


def _set_high_latency(link: Link) -> None:
    link.latency, link.jitter = 0.8, 2.0


def _set_low_bandwidth(link: Link) -> None:
    link.bandwidth = 2_000.0


def _refuse_connections(link: Link) -> None:
    link.refusing = True


LINK_FAULTS: Mapping[str, Callable[[Link], None]] = {
    "partition": Link.partition,
    "high latency": _set_high_latency,
    "low bandwidth": _set_low_bandwidth,
    "connections refused": _refuse_connections,
}
"""Faults of a link that last for some time."""

LINK_EVENTS: Mapping[str, Callable[[Link], None]] = {
    "connections reset": Link.reset_connections,
    "connections half-open": Link.forget_connections,
}
"""Faults of a link that happen at one moment."""


@final
class LinkFaults:
    """The faults of one link. They may overlap; when one ends, the others last."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._usual = link.latency, link.jitter, link.bandwidth, link.refusing
        self._lasting: list[str] = []

    def begin(self, fault: str) -> None:
        self._lasting.append(fault)
        LINK_FAULTS[fault](self._link)

    def end(self, fault: str) -> None:
        self._lasting.remove(fault)
        self._link.latency, self._link.jitter, self._link.bandwidth, self._link.refusing = self._usual
        if "partition" not in self._lasting:
            self._link.heal()
        for other in self._lasting:
            LINK_FAULTS[other](self._link)

    def end_all(self) -> None:
        for fault in tuple(self._lasting):
            self.end(fault)
