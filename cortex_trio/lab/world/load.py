"""The calls of one world: when each is made, for what and with which options. Drawn from the seed before the run."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

HOUR = 3600.0
CALLS_PER_HOUR = (8.0, 30.0)
BURST_SECONDS = 20.0
KINDS = ("story",) * 10 + ("tools",) * 4 + ("object",) * 2 + ("embed",) * 3 + ("models",)
"""Kinds of calls. A kind is drawn as often as it is listed."""
LARGEST_EMBEDDING = 130
"""Texts. More than some providers accept in one request, so that the gateway must send several."""
SMALLEST_BATCH = 96
"""The fewest texts that a provider with embeddings accepts in one request."""


@attrs.frozen
class PlannedCall:
    """One call. All times in seconds."""

    number: int
    at: float
    """When it is made, in Trio time."""
    mode: str
    """"complete", or a value of on_interrupt for a streamed call. Without meaning for "embed" and "models"."""
    options: Mapping[str, Any]
    """Options of `Cortex.chat`, or of `embed` or `models` for these kinds."""
    deadline: float | None
    """The caller cancels the call after so long; None: never."""
    leaves_after: int | None
    """The caller leaves the stream after more than so many events; None: it reads to the end."""
    pause: float
    """After each event, for a slow reader."""
    rounds: int
    """Rounds of Trio's loop by which the call is delayed after `at`."""
    kind: str = "story"
    """One of KINDS."""
    texts: int = 0
    """How many texts to embed."""
    cancel_after_rounds: int | None = None
    """The caller cancels the call after so many rounds of Trio's loop; None: never."""

    @property
    def is_restricted(self) -> bool:
        """Whether the caller restricts the workers or the time, so that an answer cannot be guaranteed."""
        restricting = {"worker", "provider", "max_attempts"} & self.options.keys()
        limits = (self.deadline, self.leaves_after, self.cancel_after_rounds)
        return bool(restricting) or any(limit is not None for limit in limits)

    @property
    def wants_whole(self) -> bool:
        """Whether only a whole answer is a success. After a tool call was delivered, no answer is restarted."""
        return self.mode in ("complete", "buffer") if self.kind == "tools" else self.mode != "raise"

    @property
    def requests(self) -> int:
        """How many requests the caller makes to the gateway, or the gateway to providers, one after the other."""
        match self.kind:
            case "tools":
                return 2
            case "embed":
                return -(-self.texts // SMALLEST_BATCH)
            case _:
                return 1


def draw_calls(
    draw: random.Random, seconds: float, workers: Sequence[str], faults: Sequence[tuple[float, float]]
) -> list[PlannedCall]:
    """Draw all calls. They come in bursts, and most bursts come during a fault, since most errors happen then.

    Args:
        draw: The random numbers of this world.
        seconds: The length of the run.
        workers: the names that a call may choose from.
        faults: When each fault begins and ends.
    """
    many = round(seconds / HOUR * draw.uniform(*CALLS_PER_HOUR))
    moments: list[float] = []
    while len(moments) < many:
        start = draw.uniform(0, seconds)
        if faults and draw.random() < 0.7:
            begins, ends = draw.choice(faults)
            start = draw.uniform(begins, min(ends, begins + 60))
        spread = draw.choice((0.0, BURST_SECONDS))
        moments += [max(0.0, start + draw.uniform(-1, spread)) for _ in range(draw.randint(1, 12))]
    return [_call(draw, number, at, workers) for number, at in enumerate(sorted(moments[:many]), 1)]


def draw_kind(draw: random.Random) -> tuple[str, int]:
    """Draw the kind of a call, and how many texts it embeds."""
    kind = draw.choice(KINDS)
    return kind, draw.choice((1, 1, 1, 2, 2, 5, 5, LARGEST_EMBEDDING)) if kind == "embed" else 0


def draw_dimensions(draw: random.Random, texts: int) -> dict[str, Any]:
    """Options of an embedding. Some vectors are so long that the response has more than 256 KiB."""
    chance = draw.random()
    if chance < 0.2:
        return {"dimensions": 16}
    if chance < 0.3:
        return {"dimensions": 3072 if texts <= 5 else 256}
    return {}


def _call(draw: random.Random, number: int, at: float, workers: Sequence[str]) -> PlannedCall:
    kind, texts = draw_kind(draw)
    return PlannedCall(
        number=number,
        at=at,
        mode=draw.choice(("complete", "complete", "raise", "restart", "continue", "buffer")),
        options=_options(draw, kind, workers, texts),
        deadline=draw.choice((None, None, None, draw.uniform(0, 5), draw.uniform(0, 60))),
        leaves_after=draw.randint(0, 8) if draw.random() < 0.1 else None,
        pause=draw.choice((0.0, 0.0, 0.0, 0.5)),
        rounds=draw.choice((0, 0, draw.randint(0, 40))),
        kind=kind,
        texts=texts,
    )


def _options(draw: random.Random, kind: str, workers: Sequence[str], texts: int) -> dict[str, Any]:
    if kind == "models":
        return {"worker": draw.choice(workers)}
    if kind == "embed":
        return draw_dimensions(draw, texts)
    options: dict[str, Any] = {}
    if draw.random() < 0.15:
        options["hedge_after"] = draw.choice((0.5, 3.0))
    if draw.random() < 0.2:
        options["first_token_timeout"] = draw.choice((2.0, 10.0))
    if draw.random() < 0.1:
        options["worker"] = draw.choice(workers)
    elif draw.random() < 0.1:
        options["max_attempts"] = draw.randint(1, 3)
    return options
