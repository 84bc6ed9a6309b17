"""The script of one provider: what each request gets, from its quota, its current faults and its fault rate.

What a request gets is drawn from the provider's seed, the number of its call and its place among the requests of that
call, and from nothing else. So `draw_response` can compute later what a request would have got that was never sent;
`bare_client` does this.
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
from ...gateway.settings.secrets import mask
from ...simulator.behaviour import Behaviour
from ...simulator.request import SimRequest
from .faults import ALL_MODEL_LISTS, ALL_RESPONSE_FAULTS
from .fixtures import (
    answer_of,
    calls_of,
    has_results,
    history_violations,
    kind_and_number_of,
    model_of,
    number_of,
    prefix_in,
)
from .plan import PlannedProvider

FAULT_SHARE = 0.9
"""Share of requests that meet a fault while it lasts. Not all: a real outage lets some requests through."""
CHECK_FAULT_SHARE = 0.5
"""The same for health checks and lists of models: many providers serve them from other machines."""
REPEATED_CHARACTERS = 300
"""How much of its end a model repeats when it has to continue an answer that is whole."""
KINDS_OF_WORKER = (FailureKind.OVERLOADED, FailureKind.SERVER)
"""Kinds whose Retry-After is about all API keys of a provider, not about one."""


def draw_response(
    planned: PlannedProvider, lasting: Sequence[str], place: tuple[int, bool, int], good: Behaviour
) -> tuple[str | None, Behaviour]:
    """Draw what a request gets. Pure.

    Args:
        planned: The provider.
        lasting: The faults that last at this moment, in the order in which they began.
        place: The number of the call, whether the request brings the results of tools, and how many requests like
            this one the provider has had of this call before.
        good: The right answer.

    Returns:
        The fault, None for a good answer; and the behaviour.
    """
    number, with_results, nth = place
    # A string as the seed: `random` hashes it in the same way in every process, whatever PYTHONHASHSEED is.
    draw = random.Random(f"{planned.seed} {number} {with_results} {nth}")
    if lasting and draw.random() < FAULT_SHARE:
        fault = draw.choice(lasting)
    elif draw.random() < planned.fault_rate:
        fault = draw.choice(planned.faults)
    else:
        return None, attrs.evolve(good, **draw.choice(planned.answers))
    return fault, ALL_RESPONSE_FAULTS[fault](draw, good)


@attrs.frozen
class SentHint:
    """At `at` (Trio time) a provider sent a Retry-After of `seconds`. `key` is masked."""

    worker: str
    key: str | None
    model: str
    at: float
    seconds: float
    kind: FailureKind

    @property
    def until(self) -> float:
        return self.at + self.seconds

    @property
    def is_of_worker(self) -> bool:
        """Whether it is about all API keys and models."""
        return self.kind in KINDS_OF_WORKER

    def covers(self, worker: str, key: str | None, model: str) -> bool:
        """Whether it is about a request with this key and this model."""
        if worker != self.worker or self.is_of_worker:
            return worker == self.worker
        return key == self.key and (model == self.model or self.kind is FailureKind.QUOTA)


@final
class FaultyProvider:
    """The script of one simulated provider."""

    def __init__(
        self,
        planned: PlannedProvider,
        count_fault: Callable[[str], None],
        record_violation: Callable[[str], None],
    ) -> None:
        self.planned = planned
        self.faults: list[str] = []
        """Keys of the faults that last at this moment."""
        self.is_fault_free = False
        """Whether the faults are over and the quota suffices for all calls."""
        self.hints: list[SentHint] = []
        self.rejected: set[int] = set()
        """Calls with a request that got the fault "bad request"."""
        self._limited_until: dict[str | None, float] = {}  # by API key, in Trio time
        self._draw = random.Random(planned.seed)
        self._buckets: dict[str | None, _TokenBucket] = {}
        self._requests: Counter[tuple[int, bool]] = (
            Counter()
        )  # of each call, without and with results of tools
        self._count_fault = count_fault
        self._record_violation = record_violation

    def respond(self, request: SimRequest) -> Behaviour:
        """What a request for an answer or for embeddings gets."""
        behaviour = self._respond(request)
        hint = behaviour.retry_after
        if isinstance(hint, int | float) and behaviour.error is not None and behaviour.error_after is None:
            key, now = None if request.key is None else mask(request.key), trio.current_time()
            self.hints.append(SentHint(self.planned.name, key, model_of(request), now, hint, behaviour.error))
        return behaviour

    def respond_to_check(self, request: SimRequest) -> Behaviour:
        """What a health check or a request for the list of models gets."""
        if self.planned.model_list != "ok":
            return ALL_MODEL_LISTS[self.planned.model_list]
        if self.is_fault_free or not self.faults or self._draw.random() >= CHECK_FAULT_SHARE:
            return Behaviour()
        fault = self._draw.choice(self.faults)
        self._count_fault(fault)
        return ALL_RESPONSE_FAULTS[fault](self._draw, Behaviour())

    def limit_key(self, key: str, seconds: float) -> None:
        """Reject requests with this API key for so long from now on, with a Retry-After."""
        self._limited_until[key] = trio.current_time() + seconds

    def _respond(self, request: SimRequest) -> Behaviour:
        good = self._good_answer(request)
        if self.is_fault_free:
            return good
        if wait := self._wait(request.key):
            self._count_fault("quota exceeded")
            return Behaviour(error=FailureKind.RATE_LIMIT, retry_after=wait)
        number = number_of(request) or 0
        place = number, has_results(request, number)
        fault, behaviour = draw_response(self.planned, self.faults, (*place, self._requests[place]), good)
        self._requests[place] += 1
        if fault is not None:
            self._count_fault(fault)
        if behaviour.error is FailureKind.BAD_REQUEST:
            self.rejected.add(number)
        return behaviour

    def _good_answer(self, request: SimRequest) -> Behaviour:
        """The right answer; only its continuation, if the request brings its beginning."""
        found = kind_and_number_of(request)
        if found is None:
            return Behaviour(text="Who are you?")
        kind, number = found
        if kind == "tools":
            if not has_results(request, number):
                return Behaviour(text="", tool_calls=calls_of(number))
            for violation in history_violations(request, number):
                self._record_violation(violation)
        answer = answer_of(number, kind)
        return Behaviour(
            text=answer.removeprefix(prefix_in(request, answer)) or answer[-REPEATED_CHARACTERS:]
        )

    def _wait(self, key: str | None) -> int:
        """Seconds until this API key may send a request; 0 if it may now. Then the request is counted."""
        now = trio.current_time()
        if (left := self._limited_until.get(key, 0.0) - now) > 0:
            return max(1, round(left))
        if self.planned.quota is None:
            return 0
        return self._buckets.setdefault(key, _TokenBucket(self.planned.quota, now)).take(now)


@attrs.define
class _TokenBucket:
    """A limit of requests a minute, as providers implement it: a bucket that is refilled continuously."""

    per_minute: float
    filled_at: float
    tokens: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = self.per_minute

    def take(self, now: float) -> int:
        """Take one token and return 0, or return the whole seconds until there is one."""
        self.tokens = min(self.per_minute, self.tokens + (now - self.filled_at) * self.per_minute / 60)
        self.filled_at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0
        return math.ceil((1 - self.tokens) * 60 / self.per_minute)
