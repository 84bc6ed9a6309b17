"""What is said in a world: each call has a number, and everything about it follows from the number.

So any piece of a request or of an answer shows which call it belongs to, and whether it is whole. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from ...messages import Tool, ToolCall
from ...simulator.request import SimRequest

OPENINGS: Mapping[str, str] = {
    "story": "Tell me",
    "tools": "Look up and tell me",
    "object": "Describe to me",
    "embed": "Weigh for me",
}
"""How the request of each kind of call begins; "models" has no words."""
LONG_EVERY, LONG_WORD = 17, 300_000
"""Each so many calls a long story, and the letters of its longest word."""
_ASKED = re.compile(rf"({'|'.join(OPENINGS.values())}) story (\d+)\.")
_KINDS = {opening: what for what, opening in OPENINGS.items()}

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


# ------------------------------------------------------------------ asked


def prompt_of(number: int, what: str = "story") -> str:
    return f"{OPENINGS[what]} story {number}."


def texts_of(number: int, many: int) -> list[str]:
    """What is to be embedded: each text is another one, so that a vector in the wrong place would show."""
    return [f"{prompt_of(number, 'embed')} Line {line}." for line in range(many)]


def kind_and_number_of(request: SimRequest) -> tuple[str, int] | None:
    """What a request was sent for, and for which call; None for health checks and lists of models."""
    for text in strings_in(request.body):
        if found := _ASKED.search(text):
            return _KINDS[found[1]], int(found[2])
    return None


def number_of(request: SimRequest) -> int | None:
    asked = kind_and_number_of(request)
    return None if asked is None else asked[1]


def embed_model_of(request: SimRequest) -> str:
    """The model a request for embeddings names: in the body, or, for Gemini, in the path."""
    named = request.body.get("model") if isinstance(request.body, dict) else None
    return str(named) if named else request.path.rpartition("/")[2].partition(":")[0]


# ------------------------------------------------------------------ answered


def story_of(number: int) -> str:
    """What every provider answers to call `number`, and to no other: a mix-up of two answers would show.

    Some stories have one word of more than a quarter megabyte, which comes in one event.
    """
    words = [f"word{number}.{place}" for place in range(6 + number % 7)]
    if number % LONG_EVERY == 0:
        words[-1] += "." + "o" * LONG_WORD
    return f"Story {number}: " + " ".join(words)


def answer_of(number: int, what: str) -> str:
    """The text that is the whole answer to a call, in the end."""
    if what == "object":
        return json.dumps({"number": number, "story": story_of(number)})
    return story_of(number)


def calls_of(number: int) -> tuple[ToolCall, ...]:
    """The tool calls every provider makes before it tells story `number`: one, two or three at once."""
    return tuple(
        ToolCall(
            id=f"call_{number}_{place}",
            name=LOOK_UP.name,
            arguments=json.dumps({"story": number, "words": _needle(number, place)}),
        )
        for place in range(1 + number % 3)
    )


def executed(call: ToolCall) -> str:
    """What the tool finds; it has nothing but the arguments to go by."""
    return f"found for {call.parsed()['words']}!"


def _needle(number: int, place: int) -> str:
    return f"needle {number}.{place};"


# ------------------------------------------------------------------ what a conversation holds


def has_results(request: SimRequest, number: int) -> bool:
    """Whether a request brings the results of the calls, or any of them."""
    return any(f"found for needle {number}." in text for text in strings_in(request.body))


def broken_history(request: SimRequest, number: int) -> Iterator[str]:
    """What is wrong with a request that brings the results: each call and each result belongs there once."""
    said = "\n".join(strings_in(request.body))
    for place, call in enumerate(calls_of(number)):
        found, needle = said.count(executed(call)), said.count(_needle(number, place))
        if (found, needle) != (1, 2):  # the result repeats the words of its call
            yield f"call {number}: result {place} came back {found} times, its arguments {needle - found} times"


def begun_in(request: SimRequest, answer: str) -> str:
    """The beginning of the answer that a request hands over to be continued, if it does."""
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
