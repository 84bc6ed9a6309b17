"""One provider of a world: what each request gets, by its quota, its present troubles and its usual faults.

What a request gets is drawn from the provider's seed, the number of its call and its place among the requests of that
call, and from nothing else that happened. So `drawn` can say afterwards what a request would have got that was never
sent: see `bare`.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import final

import attrs
import trio

from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from ...simulator.request import SimRequest
from .plan import PlannedProvider
from .tales import answer_of, begun_in, broken_history, calls_of, has_results, kind_and_number_of, number_of
from .troubles import MODEL_LISTS, TROUBLES

CERTAINLY = 0.9
"""Share of requests that meet a trouble while it lasts: most of them, since real outages let some through."""
CHECKS_MEET_IT = 0.5
"""The same for health checks and lists of models: at many providers they are other machines."""
LAST_CHARACTERS = 300
"""What a model says again when it is told to go on with an answer that is whole: its end, and not a megabyte."""


def drawn(
    planned: PlannedProvider, lasting: Sequence[str], place: tuple[int, bool, int], good: Behaviour
) -> tuple[str | None, Behaviour]:
    """Return what a request gets and which trouble that is, None for a good answer. Pure.

    Args:
        lasting: The troubles that last at the moment, in the order in which they began.
        place: The number of the call, whether the request brings the results of tools, and how many requests like
            that the provider had of this call before.
        good: The right answer.
    """
    number, with_results, nth = place
    draw = random.Random(
        f"{planned.seed} {number} {with_results} {nth}"
    )  # hashed by random, whatever PYTHONHASHSEED
    if lasting and draw.random() < CERTAINLY:
        what = draw.choice(lasting)
    elif draw.random() < planned.faults:
        what = draw.choice(tuple(TROUBLES))
    else:
        return None, attrs.evolve(good, tokens_per_second=draw.choice((math.inf, 20.0)))
    return what, TROUBLES[what](draw, good)


@final
class Upstream:
    """The script of one simulated provider. `troubles` are the keys of TROUBLES that last at the moment."""

    def __init__(
        self, planned: PlannedProvider, note: Callable[[str], None], complain: Callable[[str], None]
    ) -> None:
        self.troubles: list[str] = []
        self.is_calm = False
        """Nothing goes wrong any more, and the quota is enough for all calls."""
        self._planned = planned
        self._draw = random.Random(planned.seed)
        self._buckets: dict[str | None, _Bucket] = {}
        self._asked: Counter[tuple[int, bool]] = Counter()  # requests of each call, without and with results
        self._note = note
        self._complain = complain

    def answer(self, request: SimRequest) -> Behaviour:
        """What a chat or a request for embeddings gets."""
        good = self._good(request)
        if self.is_calm:
            return good
        if wait := self._wait(request.key):
            self._note("quota exceeded")
            return Behaviour(error=FailureKind.RATE_LIMIT, retry_after=wait)
        number = number_of(request) or 0
        asked = number, has_results(request, number)
        what, behaviour = drawn(self._planned, self.troubles, (*asked, self._asked[asked]), good)
        self._asked[asked] += 1
        if what is not None:
            self._note(what)
        return behaviour

    def answer_check(self, request: SimRequest) -> Behaviour:
        """What a health check or a list of models gets. A provider without a list has none when all is well, either."""
        if self._planned.model_list != "ok":
            return MODEL_LISTS[self._planned.model_list]
        if self.is_calm or not self.troubles or self._draw.random() >= CHECKS_MEET_IT:
            return Behaviour()
        what = self._draw.choice(self.troubles)
        self._note(what)
        return TROUBLES[what](self._draw, Behaviour())

    def _good(self, request: SimRequest) -> Behaviour:
        """The right answer, from where the request says that it broke off."""
        asked = kind_and_number_of(request)
        if asked is None:
            return Behaviour(text="Who are you?")
        what, number = asked
        if what == "tools":
            if not has_results(request, number):
                return Behaviour(text="", tool_calls=calls_of(number))
            for broken in broken_history(request, number):
                self._complain(broken)
        answer = answer_of(number, what)
        return Behaviour(text=answer.removeprefix(begun_in(request, answer)) or answer[-LAST_CHARACTERS:])

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
