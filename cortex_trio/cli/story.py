"""Data of the demo: questions, answers and faults, chosen by seed."""

from __future__ import annotations

import attrs

from ..failures import FailureKind
from ..simulator import Behaviour


@attrs.frozen
class Mishap:
    """A fault of a provider. `said` describes it after the provider's name: "openai resets the connection"."""

    said: str
    behaviour: Behaviour


@attrs.frozen
class Story:
    """One run of the demo.

    `questions` holds three questions with their answers; `mishap` happens during the second one; the worker is killed
    after `words_before_kill` words of the third answer.
    """

    questions: tuple[tuple[str, str], ...]
    mishap: Mishap
    words_before_kill: int

    @classmethod
    def by_number(cls, seed: int) -> Story:
        """Return the run for `seed`. The same seed gives the same run; the README shows that of 0."""
        return cls(
            questions=tuple(QUESTIONS[(seed + place) % len(QUESTIONS)] for place in range(3)),
            mishap=MISHAPS[seed % len(MISHAPS)],
            words_before_kill=3 + (seed + 3) % 7,
        )


THINKING_SECONDS = 0.7
"""Seconds until a provider sends its first token or its error: long enough to be seen."""

QUESTIONS = (
    (
        "What is a rate limit?",
        "A limit on the requests that one client may send in a given time.",
    ),
    (
        "What is a circuit breaker for?",
        "It stops asking a server that is down, so that the server can recover and you need not wait.",
    ),
    (
        "Why do programs have supervisors?",
        "Because a process that has crashed cannot decide what happens next; its supervisor can.",
    ),
    (
        "What does 'let it crash' mean?",
        "That a process need not survive every mistake, because a supervisor starts it again.",
    ),
    (
        "Why stream an answer?",
        "Because a reader can begin after half a second instead of waiting ten seconds for the end.",
    ),
    (
        "What is back-pressure?",
        "A slow reader makes a fast writer wait, so that no data piles up between them.",
    ),
)

MISHAPS = (
    Mishap(
        "answers 503: overloaded",
        Behaviour(error=FailureKind.OVERLOADED, first_token_after=THINKING_SECONDS),
    ),
    Mishap(
        "answers 500: a server error",
        Behaviour(error=FailureKind.SERVER, first_token_after=THINKING_SECONDS),
    ),
    Mishap("resets the connection", Behaviour(refuse=True)),
    Mishap("sends a web page instead of an answer", Behaviour(html=True, first_token_after=THINKING_SECONDS)),
    Mishap("ends its stream before the first word", Behaviour(cut_after=0)),
    Mishap(
        "answers 200, and then sends an overloaded error inside the stream",
        Behaviour(error=FailureKind.OVERLOADED, error_after=0),
    ),
)
