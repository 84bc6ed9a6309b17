"""Who asks in one world, for what and how: drawn from its seed before anything runs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

HOUR = 3600.0
CALLS_PER_HOUR = (8.0, 30.0)
BURST_SECONDS = 20.0
KINDS = ("story",) * 10 + ("tools",) * 4 + ("object",) * 2 + ("embed",) * 3 + ("models",)
"""What is asked for, as often as it stands here."""
LARGEST_EMBEDDING = 130
"""Texts: more than the providers that take the fewest take at once, so that the list goes in several requests."""
SMALLEST_BATCH = 96


@attrs.frozen
class PlannedCall:
    """One call. `what` is "story", "tools", "object", "embed" or "models"; `rounds` delays it by rounds of the loop.

    `how` is "complete" or an on_interrupt; for "embed" and "models" it says nothing.
    """

    number: int
    at: float
    how: str
    options: Mapping[str, Any]
    deadline: float | None
    leaves_after: int | None
    pause: float
    rounds: int
    what: str = "story"
    texts: int = 0  # to embed

    @property
    def is_particular(self) -> bool:
        """The caller limits who may serve, or for how long: an answer cannot be promised then."""
        narrow = {"worker", "provider", "max_attempts"} & self.options.keys()
        return bool(narrow) or self.deadline is not None or self.leaves_after is not None

    @property
    def wants_whole(self) -> bool:
        """An interruption is no answer to this caller. (After a tool call was delivered nothing is begun again.)"""
        return self.how in ("complete", "buffer") if self.what == "tools" else self.how != "raise"

    @property
    def requests(self) -> int:
        """How many the gateway is asked for, one after the other."""
        match self.what:
            case "tools":
                return 2
            case "embed":
                return -(-self.texts // SMALLEST_BATCH)
            case _:
                return 1


def planned_calls(
    draw: random.Random, seconds: float, workers: Sequence[str], troubles: Sequence[tuple[float, float]]
) -> list[PlannedCall]:
    """Calls come in bursts, and most of the bursts come while something is broken: that is when things go wrong.

    `troubles` are spans of time in which something is.
    """
    many = round(seconds / HOUR * draw.uniform(*CALLS_PER_HOUR))
    moments: list[float] = []
    while len(moments) < many:
        start = draw.uniform(0, seconds)
        if troubles and draw.random() < 0.7:
            begins, ends = draw.choice(troubles)
            start = draw.uniform(begins, min(ends, begins + 60))
        spread = draw.choice((0.0, BURST_SECONDS))
        moments += [max(0.0, start + draw.uniform(-1, spread)) for _ in range(draw.randint(1, 12))]
    return [_call(draw, number, at, workers) for number, at in enumerate(sorted(moments[:many]), 1)]


def _call(draw: random.Random, number: int, at: float, workers: Sequence[str]) -> PlannedCall:
    what = draw.choice(KINDS)
    texts = draw.choice((1, 1, 1, 2, 2, 5, 5, LARGEST_EMBEDDING)) if what == "embed" else 0
    return PlannedCall(
        number=number,
        at=at,
        how=draw.choice(("complete", "complete", "raise", "restart", "continue", "buffer")),
        options=_options(draw, what, workers, texts),
        deadline=draw.choice((None, None, None, draw.uniform(0, 5), draw.uniform(0, 60))),
        leaves_after=draw.randint(0, 8) if draw.random() < 0.1 else None,
        pause=draw.choice((0.0, 0.0, 0.0, 0.5)),
        rounds=draw.choice((0, 0, draw.randint(0, 40))),
        what=what,
        texts=texts,
    )


def _options(draw: random.Random, what: str, workers: Sequence[str], texts: int) -> dict[str, Any]:
    if what == "models":
        return {"worker": draw.choice(workers)}
    if what == "embed":
        return _dimensions(draw, texts)
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


def _dimensions(draw: random.Random, texts: int) -> dict[str, Any]:
    """Some vectors are as long as those of the largest models, so that an answer has more than a quarter megabyte."""
    chance = draw.random()
    if chance < 0.2:
        return {"dimensions": 16}
    if chance < 0.3:
        return {"dimensions": 3072 if texts <= 5 else 256}
    return {}
