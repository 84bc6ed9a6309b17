"""What one bare client with two retries would have got: the measure no gateway may fall below. Pure.

The client is an official SDK with its defaults. It asks one provider, again after a connection that broke before an
answer and after 408, 409, 425, 429 and 5xx, and waits as long as Retry-After says (openai-python, `_should_retry` and
`_calculate_retry_timeout`). What each of its requests would have got is drawn as it is for the gateway's.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs

from ...failures import FailureKind
from ...simulator.behaviour import Behaviour
from .plan import PlannedProvider
from .upstream import drawn

TRIES = 3
"""One request and two retries."""
BACKOFF_SECONDS = 2.0
"""Both pauses together, 0.5 and 1 s, and what the requests themselves take."""
AGAIN_STATUSES = (408, 409, 425, 429)
AGAIN_KINDS = (FailureKind.SERVER, FailureKind.OVERLOADED, FailureKind.RATE_LIMIT, FailureKind.EDGE)
GOOD = Behaviour(text="The right answer.")


class Got(enum.Enum):
    """What one request got, as the client sees it."""

    ANSWER = "answer"
    AGAIN = "again"  # the client asks again
    FAILED = "failed"  # it gives up, or it is not certain what would have come of it


@attrs.frozen
class Outcome:
    """What the client got in the end. `waited` are the seconds of all hints it obeyed."""

    is_served: bool
    tries: int
    waited: float


def outcome(
    planned: PlannedProvider, lasting: Sequence[str], number: int, *, with_results: bool, tries: int = TRIES
) -> Outcome:
    """Return what came of call `number` if a bare client had sent it to this provider alone.

    Args:
        lasting: The troubles that last while it asks: the same for all of its tries.
        with_results: Whether the call brings the results of tools.
        tries: How often it asks at most.
    """
    waited = 0.0
    for nth in range(tries):
        _, behaviour = drawn(planned, lasting, (number, with_results, nth), GOOD)
        got = got_from(behaviour)
        if got is not Got.AGAIN:
            return Outcome(got is Got.ANSWER, nth + 1, waited)
        waited += _hint(behaviour)
    return Outcome(is_served=False, tries=tries, waited=waited)


def got_from(behaviour: Behaviour) -> Got:
    """What a client makes of an answer. Whatever is late or breaks off counts as failed: it need not be better."""
    if behaviour.refuse or behaviour.reset_at or behaviour.cut_at:
        return Got.AGAIN
    if behaviour.error is not None and behaviour.error_after is None:
        return Got.AGAIN if behaviour.error in AGAIN_KINDS else Got.FAILED
    if behaviour.status != 200:
        return Got.AGAIN if behaviour.status in AGAIN_STATUSES or behaviour.status >= 500 else Got.FAILED
    return Got.ANSWER if _is_good(behaviour) else Got.FAILED


def _is_good(behaviour: Behaviour) -> bool:
    """Nothing is wrong but how the bytes are cut, what the headers say, and what becomes of the connection later."""
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


def _hint(behaviour: Behaviour) -> float:
    hint = behaviour.retry_after
    return float(hint) if isinstance(hint, int | float) else 0.0
