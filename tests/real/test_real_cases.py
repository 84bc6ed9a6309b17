"""Bodies that real servers sent and that were once read wrongly, or were built after reports about them.

They are not part of the project; their NOTES.md says where each comes from. Streams are fed whole, byte by byte and
in random pieces.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from cortex_trio.events import Finished, FinishReason, ReplyBuilder, WireEvent
from cortex_trio.failures import Failure, FailureKind, classify
from cortex_trio.providers import PROVIDERS

PROVIDER = {
    "chat": "openai_compatible",
    "responses": "openai_responses",
    "anthropic": "anthropic",
    "gemini": "gemini",
}


@attrs.frozen
class Read:
    """What a reader has in the end. `text` None: any; `end` is how it ended."""

    end: FinishReason | FailureKind
    text: str | None = ""
    reasoning: str = ""
    calls: tuple[tuple[str, object], ...] = ()

    @classmethod
    def of(cls, events: list[WireEvent]) -> "Read":
        reply = ReplyBuilder()
        reply.add_all(events)
        last = events[-1]
        assert isinstance(last, Finished | Failure)
        end = last.reason if isinstance(last, Finished) else last.kind
        calls = tuple((call.name, _meaning(call.arguments)) for call in reply.tool_calls)
        return cls(end, reply.text, reply.reasoning, calls)


def _meaning(arguments: str) -> object:
    try:
        value: object = json.loads(arguments)
    except ValueError:
        return arguments
    return value


STOP, LENGTH, CALLS = FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS
COUNT = "Sure! Here’s a quick count:\n\n1  \n2  \n3  \n4  \n5"
PROFILE = {"name": "Alex Chen", "age": 28, "occupation": "Software Engineer"}

ANSWERS: dict[str, tuple[str, Read]] = {
    "01_bedrock_mantle_responses_content_index.sse": (
        "responses",
        Read(STOP, COUNT, reasoning="We simply count: 1, 2, 3, 4, 5."),
    ),
    "02_snowflake_no_finish_reason.sse": ("chat", Read(STOP, "4")),
    "04_cloudflare_content_object.json": (
        "chat",
        Read(STOP, '{"title":"Apples are tasty","author":"Hadley Wickham"}'),
    ),
    "05_vertex_model_armor.json": ("gemini", Read(FinishReason.CONTENT_FILTER)),
    "14_anthropic_spliced_generations.sse": (
        "anthropic",
        Read(
            FailureKind.PROTOCOL,
            reasoning="I will call the tool.",
            calls=(("test-tool", '{"value":"Spark'),),
        ),
    ),
    "15_gemini_openai_compat_thought_signature.json": (
        "chat",
        Read(CALLS, None, calls=(("get_current_time", {}),)),
    ),
    "16_azure_deepseek_finish_tool_call.json": (
        "chat",
        Read(CALLS, None, calls=(("structured_output", PROFILE),)),
    ),
    "19_openai_tool_search_namespace.sse": (
        "responses",
        Read(CALLS, calls=(("get_weather", {"location": "San Francisco, CA", "unit": "fahrenheit"}),)),
    ),
    "20_late_tool_name.sse": ("chat", Read(CALLS, calls=(("bash", {"a": 1}),))),
    "21_tool_name_in_pieces.sse": ("chat", Read(CALLS, calls=(("get_weather", {"a": 1}),))),
    "22_index0_without_ids.sse": ("chat", Read(CALLS, calls=(("f", {"c": 1}), ("g", {"c": 2})))),
    "25_content_parts_reasoning_databricks.sse": ("chat", Read(STOP, "hi", reasoning="thinking")),
    "27_openrouter_choice_error_429.sse": ("chat", Read(FailureKind.RATE_LIMIT)),
    "28_finish_length_then_stop.sse": ("chat", Read(LENGTH, "x")),
    "30_responses_two_cycles.sse": ("responses", Read(FailureKind.PROTOCOL, "Bonjour!")),
    "32_anthropic_end_turn_with_tool_use.sse": ("anthropic", Read(CALLS, calls=(("f", {}),))),
    "34_responses_custom_tool_call.sse": ("responses", Read(CALLS, calls=(("sql", "select 1"),))),
}
"""By file: what reads it, and what it contains."""

ERRORS: dict[str, tuple[int, FailureKind]] = {
    "06_llamacpp_context_400.json": (400, FailureKind.CONTEXT_LENGTH),
    "07_perplexity_context_400.json": (400, FailureKind.CONTEXT_LENGTH),
    "08_mistral_unknown_model_400.json": (400, FailureKind.MODEL_NOT_FOUND),
    "11_openrouter_policy_in_raw_403.json": (403, FailureKind.CONTENT_POLICY),
    "12_openai_tools_unsupported_404.json": (404, FailureKind.BAD_REQUEST),
}
"""By the file: the status it came with, and what it is."""


@pytest.fixture(scope="session")
def body(shared_dir: Path) -> Callable[[str], bytes]:
    def load(name: str) -> bytes:
        return (shared_dir / "wire" / "cases" / name).read_bytes()

    return load


def test_every_case_is_in_one_table(shared_dir: Path) -> None:
    found = {file.name for file in (shared_dir / "wire" / "cases").iterdir() if file.suffix != ".md"}
    assert found == {*ANSWERS, *ERRORS}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read_right_at_every_slicing(name: str, body: Callable[[str], bytes]) -> None:
    dialect, wanted = ANSWERS[name]
    read_by, data = PROVIDERS[PROVIDER[dialect]].dialect, body(name)
    if name.endswith(".json"):
        answers = [read_by.decode_reply(data)]
    else:
        chance = random.Random(7)  # the same slices in every run
        cuts = [sorted(chance.sample(range(len(data)), 9)) for _ in range(20)]
        slicings = [
            [data],
            [data[at : at + 1] for at in range(len(data))],
            *([data[begin:end] for begin, end in zip([0, *at], [*at, None], strict=True)] for at in cuts),
        ]
        answers = []
        for slices in slicings:
            decoder = read_by.decoder()
            events = [event for piece in slices for event in decoder.feed(piece)]
            answers.append(events + decoder.finish())
    assert all(answer == answers[0] for answer in answers)
    seen = Read.of(answers[0])
    assert seen == (attrs.evolve(wanted, text=seen.text) if wanted.text is None else wanted)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_classified_by_its_body(name: str, body: Callable[[str], bytes]) -> None:
    status, kind = ERRORS[name]
    assert classify(status, {}, body(name)).kind is kind


@pytest.mark.parametrize("provider", ["openai", "groq", "xai"])
def test_where_every_answer_has_a_finish_reason_one_without_it_was_cut(
    provider: str, body: Callable[[str], bytes]
) -> None:
    decoder = PROVIDERS[provider].dialect.decoder()
    events = decoder.feed(body("02_snowflake_no_finish_reason.sse")) + decoder.finish()
    assert Read.of(events) == Read(FailureKind.TRUNCATED, "4")
