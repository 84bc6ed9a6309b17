"""The time limits of one attempt, and the failure that exceeding one of them is. Pure."""

from __future__ import annotations

import math

import attrs

from ...failures import Failure, FailureKind
from ...failures.kinds import Phase

REASONING_SECONDS = 120.0
"""To the first token of a model that reasons, at least. Reasoning that is not sent takes minutes on every provider."""


@attrs.frozen
class Timeouts:
    """Limits of one attempt, in seconds; `until` is Trio time.

    Where the caller has set a shorter limit than the configuration, exceeding it says nothing about the worker:
    `first_token_is_ours` and `idle_is_ours` are True then.
    """

    connect: float
    first_token: float
    idle: float  # between two events
    content: float  # between two events with content
    until: float = math.inf  # the whole call is over
    first_token_is_ours: bool = False
    idle_is_ours: bool = False
    content_while_reasoning: float | None = None
    """Seconds to the first content at most, while the server shows that it works: each byte of its response then allows
    it `first_token` again. None: it does not, because the model does not reason, or the caller has set the limit."""

    def first_content_by(self, started: float, last_byte: float) -> float:
        """Return the Trio time by which the first content must be here.

        Args:
            started: Trio time at which the attempt began.
            last_byte: Trio time of the last byte of the response; `started` before the first.
        """
        deadline = started + self.first_token
        if self.content_while_reasoning is not None:
            extended = min(last_byte + self.first_token, started + self.content_while_reasoning)
            deadline = max(deadline, extended)
        return min(deadline, self.until)

    @property
    def until_connected(self) -> float:
        """Seconds. A worker that is not reached within its own time to the first token counts as unreachable."""
        return self.connect if self.first_token_is_ours else min(self.connect, self.first_token)


def timeout_failure(
    timeouts: Timeouts, phase: Phase, *, started: float, now: float, has_content: bool, is_ours: bool
) -> Failure:
    """Return the failure of an attempt that has waited too long.

    Args:
        timeouts: its limits.
        phase: what it waited for.
        started: Trio time at which it began.
        now: Trio time.
        has_content: it had received content before.
        is_ours: the limit was the caller's own, or the request never reached the worker.
    """
    waited = now - started
    if now >= timeouts.until:  # the limit of the call: not the fault of a worker that still sends
        text = f"the call's time is over, {waited:.1f} s after this attempt began"
        return Failure(FailureKind.CANCELLED, text, phase=phase)
    if has_content:
        text = f"silent in the middle, {waited:.1f} s after the start"
    else:
        text = f"no first token within {waited:.1f} s"
    return Failure(FailureKind.STALLED, text, phase=phase, ours=is_ours)
