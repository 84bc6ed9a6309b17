"""One provider of a world: what each request gets, by its quota, its present troubles and its usual faults."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Iterator
from typing import final

import attrs
import trio

from ...failures import FailureKind
from ..behaviour import Behaviour
from ..speak.speaker import SimRequest
from .plan import PlannedProvider
from .troubles import TROUBLES

CERTAINLY = 0.9
"""Share of requests that meet a trouble while it lasts: most of them, since real outages let some through."""
_ASKED = re.compile(r"Tell me story (\d+)\.")


def prompt_of(number: int) -> str:
    return f"Tell me story {number}."


def story_of(number: int) -> str:
    """What every provider answers to call `number`, and to no other: a mix-up of two answers would show."""
    return f"Story {number}: " + " ".join(f"word{number}.{place}" for place in range(6 + number % 7))


def number_of(request: SimRequest) -> int | None:
    """The call a request was sent for; None for health checks and lists of models."""
    found = [match for text in _strings(request.body) if (match := _ASKED.search(text))]
    return int(found[0].group(1)) if found else None


@final
class Upstream:
    """The script of one simulated provider. `troubles` are the keys of TROUBLES that last at the moment."""

    def __init__(self, planned: PlannedProvider, note: Callable[[str], None]) -> None:
        self.troubles: list[str] = []
        self.is_calm = False
        """Nothing goes wrong any more, and there is enough for everybody."""
        self._planned = planned
        self._draw = random.Random(planned.seed)
        self._buckets: dict[str | None, _Bucket] = {}
        self._note = note

    def answer(self, request: SimRequest) -> Behaviour:
        number = number_of(request)
        text = story_of(number) if number is not None else "Who are you?"
        if self.is_calm:
            return Behaviour(text=text)
        if wait := self._wait(request.key):
            self._note("quota exceeded")
            return Behaviour(error=FailureKind.RATE_LIMIT, retry_after=wait)
        rest = text.removeprefix(_begun(request.body, text)) or text
        if self.troubles and self._draw.random() < CERTAINLY:
            return self._trouble(self._draw.choice(self.troubles), rest)
        if self._draw.random() < self._planned.faults:
            return self._trouble(self._draw.choice(tuple(TROUBLES)), rest)
        return Behaviour(text=rest, tokens_per_second=self._draw.choice((math.inf, 20.0)))

    def _trouble(self, what: str, text: str) -> Behaviour:
        self._note(what)
        return TROUBLES[what](self._draw, text)

    def _wait(self, key: str | None) -> int:
        """Seconds until this key may ask again; 0: it may, and has."""
        if self._planned.quota is None:
            return 0
        bucket = self._buckets.setdefault(key, _Bucket(self._planned.quota, trio.current_time()))
        return bucket.take(trio.current_time())


@attrs.define
class _Bucket:
    """Requests a minute: a bucket of a minute's worth that drips full again, as the providers' own do."""

    per_minute: float
    filled_at: float
    tokens: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = self.per_minute

    def take(self, now: float) -> int:
        """Take one; or the whole seconds until there is one."""
        self.tokens = min(self.per_minute, self.tokens + (now - self.filled_at) * self.per_minute / 60)
        self.filled_at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0
        return math.ceil((1 - self.tokens) * 60 / self.per_minute)


def _begun(body: object, story: str) -> str:
    """The beginning of the story that a request hands over to be continued, if it does."""
    found = ""
    for text in _strings(body):
        at = text.find(story[:10])
        if at >= 0:
            same = _common(text[at:], story)
            found = max(found, story[:same], key=len)
    return found


def _common(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _strings(body: object) -> Iterator[str]:
    match body:
        case dict():
            for value in body.values():
                yield from _strings(value)
        case list():
            for value in body:
                yield from _strings(value)
        case str():
            yield body
