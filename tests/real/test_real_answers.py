"""The recorded answers of 39 server products, read as an independent parser read them, however the network cuts.

The corpus is not part of the project. Its README says what the fields of a line mean.
"""

import base64
import gzip
import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest

from cortex_trio.events import Finished, ReasoningSeal, ReplyBuilder, UsageUpdate, WholePart, WireEvent
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.gateway.request.non_streaming import NonStreamingFallback
from cortex_trio.messages import Image
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.codec import Dialect

DIALECTS: dict[str, Dialect] = {
    "chat": PROVIDERS["openai_compatible"].dialect,
    "responses": PROVIDERS["openai_responses"].dialect,
    "anthropic": PROVIDERS["anthropic"].dialect,
    "gemini": PROVIDERS["gemini"].dialect,
    "cohere": PROVIDERS["cohere"].dialect,
    "ollama": PROVIDERS["ollama"].dialect,
}
SHORT = 2_000
"""Bytes of an answer that is also fed byte by byte."""

FAILED: dict[str, FailureKind] = {
    "google_gemini_2_5_flash_lite/object_streaming.json": FailureKind.SERVER,  # a 502 in its last chunk but one
    "unary-failure-model-not-found.json": FailureKind.MODEL_NOT_FOUND,
    "streaming-failure-unknown-model.txt": FailureKind.MODEL_NOT_FOUND,
    "cohere-embedding.json": FailureKind.TRUNCATED,  # no chat at all
    "stream-unknown-error-responses-1.json": FailureKind.SERVER,
    "test_azure/test_prompt_content_filtering.yaml": FailureKind.CONTENT_POLICY,
}
"""By the end of the source: the answers that are errors, or hold one."""

SHOPPING_PATCH = {
    "type": "create_file",
    "path": "shopping-checklist.md",
    "diff": "+## Shopping Checklist\n+\n+- [ ] Milk\n+- [ ] Bread\n+- [ ] Eggs\n+- [ ] Fresh fruit\n+- [ ] Coffee\n",
}
SHORT_URL = (
    '{"alias":"","description":"Shortened link for ai-sdk.dev","max_clicks":100,"password":"",'
    '"url":"https://ai-sdk.dev/"}'
)
CALLS: dict[str, list[tuple[str, Any]]] = {
    # Free-form tools, which the parser behind the expectations does not know.
    "openai-custom-tool.1.chunks.txt": [("write_sql", "SELECT * FROM users WHERE age > 25")],
    "chat_completion_custom_tool_call.yaml": [("math_exp", "4 + 4")],
    # A call in the field that came before `tool_calls`.
    "test_openai_functions.yaml": [
        (
            "Joke",
            {
                "setup": "Why did the scarecrow win an award?",
                "punchline": "Because he was outstanding in his field!",
            },
        )
    ],
    # Gemini's partial arguments, which it does not know either.
    "google-stream-no-args-tool-call.chunks.txt": [
        ("read_theme", {}),
        ("read_screen", {"id": "A"}),
        ("read_screen", {"id": "B"}),
        ("read_screen", {"id": "C"}),
    ],
    "google-stream-tool-call-arguments.chunks.txt": [
        ("getWeather", {"location": "Boston"}),
        ("getWeather", {"location": "San Francisco"}),
    ],
    # OpenAI's tools that the program runs: the parser behind the expectations leaves them out.
    "openai-apply-patch-tool.1.chunks.txt": [("apply_patch", {"operation": SHOPPING_PATCH})],
    "openai-mcp-tool-approval.1.chunks.txt": [
        (
            "mcp_approval_request",
            {"arguments": SHORT_URL, "name": "create_short_url", "server_label": "zip1"},
        )
    ],
}
"""By the end of the source: calls that are in the bytes, and not in the expectations."""


@attrs.frozen
class Answer:
    """A line of the corpus."""

    source: str
    dialect: str
    kind: str
    body: bytes
    expected: dict[str, Any]

    @property
    def read_by(self) -> Dialect:
        return DIALECTS[self.dialect]

    def named(self, table: dict[str, Any]) -> Any:
        return next((value for end, value in table.items() if self.source.endswith(end)), None)

    def decoded(self, slices: list[bytes]) -> list[WireEvent]:
        """The events of the answer in these slices; a whole one is held as the gateway holds it."""
        decoder = self.read_by.decoder()
        if self.kind == "whole":
            decoder = NonStreamingFallback(self.read_by, decoder)
        events = [event for data in slices for event in decoder.feed(data)]
        return events + decoder.finish()


@cache
def corpus(file: Path) -> tuple[Answer, ...]:
    lines = map(json.loads, gzip.decompress(file.read_bytes()).splitlines())
    return tuple(
        Answer(
            line["source"],
            line["dialect"],
            line["kind"],
            base64.b64decode(line["body"]),
            line["expected"],
        )
        for line in lines
    )


@pytest.fixture(scope="session")
def answers(shared_dir: Path) -> tuple[Answer, ...]:
    return corpus(shared_dir / "wire" / "corpus" / "answers.jsonl.gz")


def arguments(text: str) -> Any:
    """What arguments mean: their spaces do not count, and nothing is an empty object."""
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text


def found(events: list[WireEvent]) -> dict[str, Any]:
    """What a reader of the events has, in the fields of the corpus."""
    reply = ReplyBuilder()
    reply.add_all(events)
    last = events[-1]
    return {
        "text": reply.text,
        "reasoning": reply.reasoning,
        "calls": [(call.name, arguments(call.arguments)) for call in reply.tool_calls],
        "images": sum(isinstance(event, WholePart) and isinstance(event.part, Image) for event in events),
        "finish": last.raw_reason if isinstance(last, Finished) else None,
    }


def differences(answer: Answer, events: list[WireEvent]) -> dict[str, Any]:
    """The fields in which the events are not what was expected, each with both."""
    if kind := answer.named(FAILED):
        last = events[-1]
        right = isinstance(last, Failure) and last.kind is kind
        return {} if right else {"end": (last, kind)}
    calls = [(call["name"], arguments(call["arguments"])) for call in answer.expected["calls"]]
    wanted = {**answer.expected, "calls": answer.named(CALLS) or calls}
    seen = found(events)
    return {name: (seen[name], wanted[name]) for name in seen if seen[name] != wanted[name]}


def sliced(body: bytes, chance: random.Random) -> Iterator[list[bytes]]:
    for longest in (3, 40, 400):
        slices, at = [], 0
        while at < len(body):
            size = chance.randint(0, longest if len(body) < 20 * longest else len(body) // 10)
            slices.append(body[at : at + size])
            at += size
        yield slices


def bytewise(body: bytes) -> list[bytes]:
    return [body[at : at + 1] for at in range(len(body))]


def test_every_answer_is_read_as_it_was_recorded(answers: tuple[Answer, ...]) -> None:
    wrong = {answer.source: differences(answer, answer.decoded([answer.body])) for answer in answers}
    assert {source: fields for source, fields in wrong.items() if fields} == {}


def test_the_tables_of_this_file_are_about_answers_of_the_corpus(answers: tuple[Answer, ...]) -> None:
    for table in (FAILED, CALLS):
        assert sorted(end for end in table if any(answer.named({end: end}) for answer in answers)) == sorted(
            table
        )


def test_no_answer_depends_on_how_the_network_slices_it(answers: tuple[Answer, ...]) -> None:
    chance = random.Random(11)  # the same slices in every run
    for answer in answers:
        whole = answer.decoded([answer.body])
        for slices in sliced(answer.body, chance):
            assert answer.decoded(slices) == whole, answer.source


def test_no_short_answer_changes_when_it_comes_byte_by_byte(answers: tuple[Answer, ...]) -> None:
    short = [answer for answer in answers if len(answer.body) <= SHORT]
    for answer in short:
        assert answer.decoded(bytewise(answer.body)) == answer.decoded([answer.body]), answer.source
    assert len(short) > len(answers) / 3


@pytest.mark.slow
def test_no_cut_stream_is_taken_for_a_complete_answer(answers: tuple[Answer, ...]) -> None:
    """However much came of it: it is a beginning of the answer, and Finished is said of all of its content only.

    A stream that fails behind its finish (OpenRouter says one with every call) is whole until then, and is sealed if
    it is cut there.
    """
    chance = random.Random(13)
    for answer in answers:
        whole = answer.decoded([answer.body])
        left_out = (UsageUpdate, ReasoningSeal) if isinstance(whole[-1], Failure) else (UsageUpdate,)
        content = [event for event in whole[:-1] if not isinstance(event, left_out)]
        for cut in sorted(chance.sample(range(len(answer.body)), min(40, len(answer.body)))):
            *came, last = answer.decoded([answer.body[:cut]])
            said = [event for event in came if not isinstance(event, left_out)]
            assert said == content[: len(said)], (answer.source, cut)
            fails = isinstance(last, Failure) or isinstance(whole[-1], Failure)
            assert fails or said == content, (answer.source, cut)
