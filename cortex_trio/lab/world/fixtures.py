"""Prompts, answers, tool calls and texts. All of them follow from the number of a call.

So every part of a request or an answer shows to which call it belongs, and whether it is whole. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from ...messages import Tool, ToolCall
from ...simulator.request import SimRequest

OPENINGS: Mapping[str, str] = {
    "story": "Write",
    "tools": "Look up and explain",
    "object": "Describe to me",
    "embed": "Weigh for me",
}
"""How the prompt of each kind of call begins; a call of the kind "models" has no prompt."""
LONG_EVERY, LONG_WORD = 17, 300_000
"""Every so many calls the answer is long: its last word has so many letters."""
_PROMPT = re.compile(rf"({'|'.join(OPENINGS.values())}) story (\d+)\.")
_KINDS = {opening: kind for kind, opening in OPENINGS.items()}

LOOK_UP = Tool(
    name="look_up",
    description="Find out what a story is about.",
    parameters={
        "type": "object",
        "properties": {"story": {"type": "integer"}, "words": {"type": "string"}},
        "required": ["story", "words"],
    },
)
OBJECT_SCHEMA = {
    "type": "object",
    "properties": {"number": {"type": "integer"}, "story": {"type": "string"}},
    "required": ["number", "story"],
    "additionalProperties": False,
}


# ------------------------------------------------------------------ requests


def prompt_of(number: int, kind: str = "story") -> str:
    return f"{OPENINGS[kind]} story {number}."


def texts_of(number: int, many: int) -> list[str]:
    """The texts of an embedding. No two are equal, so that a vector in the wrong place is noticed."""
    return [f"{prompt_of(number, 'embed')} Line {line}." for line in range(many)]


def kind_and_number_of(request: SimRequest) -> tuple[str, int] | None:
    """The kind and the number of the call of a request; None for health checks and lists of models."""
    for text in strings_in(request.body):
        if found := _PROMPT.search(text):
            return _KINDS[found[1]], int(found[2])
    return None


def number_of(request: SimRequest) -> int | None:
    found = kind_and_number_of(request)
    return None if found is None else found[1]


def model_of(request: SimRequest) -> str:
    """The model that a request names, in its body or, for Gemini, in its path."""
    named = request.body.get("model") if isinstance(request.body, dict) else None
    return str(named) if named else request.path.rpartition("/")[2].partition(":")[0]


# ------------------------------------------------------------------ answers


def story_of(number: int) -> str:
    """The answer of every provider to call `number`, and to no other call: a mix-up of two answers is noticed.

    Some stories have one word of more than 256 KiB, which comes in one event.
    """
    words = [f"word{number}.{place}" for place in range(6 + number % 7)]
    if number % LONG_EVERY == 0:
        words[-1] += "." + "o" * LONG_WORD
    return f"Story {number}: " + " ".join(words)


def answer_of(number: int, kind: str) -> str:
    """The text of the whole answer to a call."""
    if kind == "object":
        return json.dumps({"number": number, "story": story_of(number)})
    return story_of(number)


def calls_of(number: int) -> tuple[ToolCall, ...]:
    """The tool calls of every provider before its answer: one, two or three in one message."""
    return tuple(
        ToolCall(
            id=f"call_{number}_{place}",
            name=LOOK_UP.name,
            arguments=json.dumps({"story": number, "words": _needle(number, place)}),
        )
        for place in range(1 + number % 3)
    )


def tool_result(call: ToolCall) -> str:
    """The result of a tool call; it follows from the arguments alone."""
    return f"found for {call.parsed()['words']}!"


def _needle(number: int, place: int) -> str:
    return f"needle {number}.{place};"


# ------------------------------------------------------------------ histories


def has_results(request: SimRequest, number: int) -> bool:
    """Whether a request brings the result of at least one tool call."""
    return any(f"found for needle {number}." in text for text in strings_in(request.body))


def history_violations(request: SimRequest, number: int) -> Iterator[str]:
    """Violations in a request that brings results: it must have each tool call and each result once."""
    text = "\n".join(strings_in(request.body))
    for place, call in enumerate(calls_of(number)):
        results, arguments = text.count(tool_result(call)), text.count(_needle(number, place))
        if (results, arguments) != (1, 2):  # the result repeats the argument of its call
            yield (
                f"call {number}: the history has result {place} {results} times, "
                f"its arguments {arguments - results} times"
            )


def prefix_in(request: SimRequest, answer: str) -> str:
    """The beginning of the answer that a request brings so that it is continued; empty if it brings none."""
    found = ""
    for text in strings_in(request.body):
        at = text.find(answer[:10])
        if at >= 0:
            same = _common(text[at:], answer)
            found = max(found, answer[:same], key=len)
    return found


def _common(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def strings_in(body: object) -> Iterator[str]:
    """Every string in a JSON value, in order."""
    match body:
        case dict():
            for value in body.values():
                yield from strings_in(value)
        case list():
            for value in body:
                yield from strings_in(value)
        case str():
            yield body
