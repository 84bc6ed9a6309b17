"""What one client without a gateway would have got, with two retries. A gateway must not do worse. Pure.

The client is an official SDK with its defaults. It uses one provider, retries after a connection that broke before
the response and after 408, 409, 425, 429 and 5xx, and waits for Retry-After (openai-python, `_should_retry` and
`_calculate_retry_timeout`). What its requests would have got is drawn as for the requests of the gateway.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs

from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from .faulty_provider import draw_response
from .plan import PlannedProvider

TRIES = 3
"""One request and two retries."""
BACKOFF_SECONDS = 2.0
"""Both pauses together, 0.5 and 1 s, and the time of the requests themselves."""
RETRIED_STATUSES = (408, 409, 425, 429)
RETRIED_KINDS = (FailureKind.SERVER, FailureKind.OVERLOADED, FailureKind.RATE_LIMIT, FailureKind.EDGE)
GOOD = Behaviour(text="The right answer.")


class Response(enum.Enum):
    """What one request got, as the client sees it."""

    ANSWER = "answer"
    RETRY = "retry"
    FAILED = "failed"
    """The client gives up, or the outcome is not certain."""


@attrs.frozen
class Outcome:
    """The result of a call by the client. `waited` is the sum of the Retry-After it waited for, in seconds."""

    is_served: bool
    tries: int
    waited: float


def outcome(
    planned: PlannedProvider, lasting: Sequence[str], number: int, *, with_results: bool, tries: int = TRIES
) -> Outcome:
    """Return the result of call `number` if the client had sent it to this provider alone.

    Args:
        planned: The provider.
        lasting: The faults that last during the call: the same for all tries.
        number: The number of the call.
        with_results: Whether the call brings the results of tools.
        tries: How many requests it sends at most.
    """
    waited = 0.0
    for nth in range(tries):
        _, behaviour = draw_response(planned, lasting, (number, with_results, nth), GOOD)
        response = response_of(behaviour)
        if response is not Response.RETRY:
            return Outcome(response is Response.ANSWER, nth + 1, waited)
        waited += _retry_after(behaviour)
    return Outcome(is_served=False, tries=tries, waited=waited)


def response_of(behaviour: Behaviour) -> Response:
    """What the client sees of a behaviour. A late or broken answer is FAILED: the gateway need not do better."""
    if behaviour.refuse or behaviour.reset_at or behaviour.cut_at:
        return Response.RETRY
    if behaviour.error is not None and behaviour.error_after is None:
        return Response.RETRY if behaviour.error in RETRIED_KINDS else Response.FAILED
    if behaviour.status != 200:
        retried = behaviour.status in RETRIED_STATUSES or behaviour.status >= 500
        return Response.RETRY if retried else Response.FAILED
    return Response.ANSWER if _is_good(behaviour) else Response.FAILED


def _is_good(behaviour: Behaviour) -> bool:
    """Whether it differs from a good answer only in its speed, slices, headers, or the end of its connection."""
    harmless = attrs.evolve(
        GOOD,
        text=behaviour.text,
        tool_calls=behaviour.tool_calls,
        tokens_per_second=behaviour.tokens_per_second,
        slice_bytes=behaviour.slice_bytes,
        headers=behaviour.headers,
        close_idle=behaviour.close_idle,
        close_on_reuse=behaviour.close_on_reuse,
        no_terminal=behaviour.no_terminal,
    )
    return behaviour == harmless and bool(behaviour.text)


def _retry_after(behaviour: Behaviour) -> float:
    hint = behaviour.retry_after
    return float(hint) if isinstance(hint, int | float) else 0.0
