"""What the demonstration tells: questions, answers, and what may go wrong. Data, chosen by number."""

from __future__ import annotations

import attrs

from ..failures import FailureKind
from ..simulator import Behaviour


@attrs.frozen
class Mishap:
    """Something providers do; `said` completes "openai …"."""

    said: str
    behaviour: Behaviour


@attrs.frozen
class Story:
    """One run: three questions with their answers, the mishap of the second, the moment of the third's."""

    questions: tuple[tuple[str, str], ...]
    mishap: Mishap
    words_before_kill: int

    @classmethod
    def by_number(cls, seed: int) -> Story:
        """The story of `seed`: the same number tells the same one, and 0 is the one the README shows."""
        return cls(
            questions=tuple(QUESTIONS[(seed + place) % len(QUESTIONS)] for place in range(3)),
            mishap=MISHAPS[seed % len(MISHAPS)],
            words_before_kill=3 + (seed + 3) % 7,
        )


THINKING_SECONDS = 0.7
"""What a provider takes to its first word here, or to its error: long enough to be seen."""

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
        "That a process need not survive every mistake, because one that took no risks starts it anew.",
    ),
    (
        "Why stream an answer?",
        "Because the first word after half a second is worth more than the last one after ten.",
    ),
    (
        "What is back-pressure?",
        "The right of a slow reader to make a fast writer wait, instead of a pile growing between them.",
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
        "says 200, and then that it is overloaded, inside the stream",
        Behaviour(error=FailureKind.OVERLOADED, error_after=0),
    ),
)
