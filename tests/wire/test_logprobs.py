"""Log probabilities, where each API has them: read from a stream and a whole answer, and never a reason to fail."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hearing import JSON, bytewise, folded, heard
from hypothesis import given, settings

from cortex_trio.events import (
    Finished,
    FinishReason,
    LogprobsDelta,
    ReasoningDelta,
    ReplyBuilder,
    Restarted,
    TextDelta,
    TokenLogprob,
    WireEvent,
)
from cortex_trio.failures import Failure, FailureKind
from cortex_trio.messages import ChatRequest, Message
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire import conformance
from cortex_trio.wire.codec import Dialect

CHAT = PROVIDERS["openai_compatible"].dialect
RESPONSES = PROVIDERS["openai_responses"].dialect
GEMINI = PROVIDERS["gemini"].dialect
COHERE = PROVIDERS["cohere"].dialect
OLLAMA = PROVIDERS["ollama"].dialect

Json = dict[str, Any]


def sse(*payloads: Json | str) -> bytes:
    texts = (payload if isinstance(payload, str) else json.dumps(payload) for payload in payloads)
    return b"".join(f"data: {text}\n\n".encode() for text in texts)


def lines(*payloads: Json) -> bytes:
    return b"".join(json.dumps(payload).encode() + b"\n" for payload in payloads)


def tokens_in(events: Sequence[WireEvent]) -> list[TokenLogprob]:
    return [token for event in events if isinstance(event, LogprobsDelta) for token in event.tokens]


# ------------------------------------------------------------------ where each API has them

HI = TokenLogprob("Hi", -0.25, b"Hi", (TokenLogprob("Hi", -0.25, b"Hi"), TokenLogprob("Yo", -1.5, None)))
MARK = TokenLogprob("!", 0.0, b"!")
OPENAI_HI: Json = {
    "token": "Hi",
    "logprob": -0.25,
    "bytes": [72, 105],
    "top_logprobs": [
        {"token": "Hi", "logprob": -0.25, "bytes": [72, 105]},
        {"token": "Yo", "logprob": -1.5, "bytes": None},
    ],
}
OPENAI_MARK: Json = {"token": "!", "logprob": 0, "bytes": [33], "top_logprobs": []}

GEMINI_HI = TokenLogprob("Hi", -0.25, None, (TokenLogprob("Hi", -0.25), TokenLogprob("Yo", -1.5)))
GEMINI_MARK = TokenLogprob("!", 0.0)


def chunk(delta: Json, logprobs: object, finish: str | None = None) -> Json:
    return {"choices": [{"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}]}


def message_chunk(message: Json, logprobs: object) -> Json:
    return {"choices": [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}]}


def text_delta(text: str, logprobs: object) -> Json:
    return {"type": "response.output_text.delta", "delta": text, "item_id": "m", "logprobs": logprobs}


def message_item(logprobs: object) -> Json:
    part = {"type": "output_text", "text": "Hi!", "annotations": [], "logprobs": logprobs}
    return {"type": "message", "id": "m", "role": "assistant", "content": [part]}


def item_done(logprobs: object) -> Json:
    return {"type": "response.output_item.done", "output_index": 0, "item": message_item(logprobs)}


def response_of(logprobs: object) -> Json:
    return {"id": "r", "status": "completed", "output": [message_item(logprobs)]}


def completed(logprobs: object) -> Json:
    return {"type": "response.completed", "response": response_of(logprobs)}


def candidate(text: str, result: object, finish: str | None = None) -> Json:
    content = {"parts": [{"text": text}], "role": "model"}
    found = {"content": content, "index": 0, "logprobsResult": result, "avgLogprobs": -0.1}
    return {"candidates": [found | ({"finishReason": finish} if finish else {})]}


def gemini_result(*tokens: Json, tops: Sequence[object] = ()) -> Json:
    return {"chosenCandidates": list(tokens), "topCandidates": list(tops)}


G_HI: Json = {"token": "Hi", "tokenId": 7, "logProbability": -0.25}
G_MARK: Json = {"token": "!", "tokenId": 8, "logProbability": 0}
G_TOP: Json = {"candidates": [G_HI, {"token": "Yo", "tokenId": 9, "logProbability": -1.5}]}


def content_delta(text: str, logprobs: object) -> Json:
    delta = {"message": {"content": {"text": text}}}
    return {"type": "content-delta", "index": 0, "delta": delta, "logprobs": logprobs}


COHERE_END: Json = {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}}


def line(text: str, logprobs: object, **more: Any) -> Json:
    return {"model": "m", "message": {"role": "assistant", "content": text}, "logprobs": logprobs, **more}


DONE: Json = {"done": True, "done_reason": "stop"}
BOTH = [OPENAI_HI, OPENAI_MARK]

ANSWERS: Mapping[str, tuple[Dialect, bytes, bytes, list[TokenLogprob]]] = {
    "chat completions": (
        CHAT,
        sse(
            chunk({"role": "assistant", "content": ""}, None),
            chunk({"content": "Hi"}, {"content": [OPENAI_HI], "refusal": None}),
            chunk({"content": "!"}, {"content": [OPENAI_MARK]}),
            chunk({}, None, "stop"),
            "[DONE]",
        ),
        json.dumps(message_chunk({"content": "Hi!"}, {"content": BOTH, "refusal": None})).encode(),
        [HI, MARK],
    ),
    "chat completions, a refusal": (
        CHAT,
        sse(
            chunk({"refusal": "Hi"}, {"content": None, "refusal": [OPENAI_HI]}),
            chunk({"refusal": "!"}, {"refusal": [OPENAI_MARK]}, "stop"),
            "[DONE]",
        ),
        json.dumps(message_chunk({"refusal": "Hi!"}, {"content": [], "refusal": BOTH})).encode(),
        [HI, MARK],
    ),
    "chat completions, three lists of Together": (
        CHAT,
        sse(
            chunk({"content": "Hi"}, {"tokens": ["Hi"], "token_logprobs": [-0.25], "token_ids": [7]}),
            chunk({"content": "!"}, {"tokens": ["!"], "token_logprobs": [None], "top_logprobs": [{"?": -3}]}),
            chunk({}, None, "stop"),
            "[DONE]",
        ),
        json.dumps(
            message_chunk(
                {"content": "Hi!"},
                {
                    "tokens": ["Hi", "!", "more"],
                    "token_logprobs": [-0.25, None],
                    "top_logprobs": [None, {"?": -3}],
                },
            )
        ).encode(),
        [TokenLogprob("Hi", -0.25), TokenLogprob("!", None, None, (TokenLogprob("?", -3.0),))],
    ),
    "Responses": (
        RESPONSES,
        sse(
            text_delta("Hi", [OPENAI_HI]),
            text_delta("!", [OPENAI_MARK]),
            {"type": "response.output_text.done", "text": "Hi!", "item_id": "m", "logprobs": BOTH},
            item_done(BOTH),
            completed(BOTH),
        ),
        json.dumps(response_of(BOTH)).encode(),
        [HI, MARK],
    ),
    "Responses, at the end of the item": (
        RESPONSES,
        sse(text_delta("Hi!", []), item_done(BOTH), completed(BOTH)),
        json.dumps(response_of(BOTH)).encode(),
        [HI, MARK],
    ),
    "Responses, the rest at the end of the answer": (
        RESPONSES,
        sse(text_delta("Hi!", [OPENAI_HI]), item_done([]), completed(BOTH)),
        json.dumps(response_of(BOTH)).encode(),
        [HI, MARK],
    ),
    "Gemini": (
        GEMINI,
        sse(
            candidate("Hi", gemini_result(G_HI, tops=[G_TOP])),
            candidate("!", gemini_result(G_MARK), "STOP"),
        ),
        json.dumps(candidate("Hi!", gemini_result(G_HI, G_MARK, tops=[G_TOP]), "STOP")).encode(),
        [GEMINI_HI, GEMINI_MARK],
    ),
    "Cohere": (
        COHERE,
        sse(
            content_delta("Hi", {"text": "Hi", "token_ids": [7, 8], "logprobs": [-0.25, -0.5]}),
            content_delta("!", {"text": "!", "token_ids": [9], "logprobs": [0]}),
            COHERE_END,
        ),
        json.dumps(
            {
                "finish_reason": "COMPLETE",
                "message": {"content": [{"type": "text", "text": "Hi!"}]},
                "logprobs": [
                    {"text": "Hi", "token_ids": [7, 8], "logprobs": [-0.25, -0.5]},
                    {"text": "!", "token_ids": [9], "logprobs": [0]},
                ],
            }
        ).encode(),
        [TokenLogprob("Hi", -0.25), TokenLogprob("", -0.5), TokenLogprob("!", 0.0)],
    ),
    "Ollama": (
        OLLAMA,
        lines(line("Hi", [OPENAI_HI]), line("!", [OPENAI_MARK]), line("", None, **DONE)),
        lines(line("Hi!", BOTH, **DONE)),
        [HI, MARK],
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_tokens_come_with_their_text_and_once(name: str) -> None:
    dialect, streamed, whole, expected = ANSWERS[name]
    events = heard(dialect, [streamed])
    assert heard(dialect, bytewise(streamed)) == events
    assert tokens_in(events) == expected
    assert tokens_in(dialect.decode_reply(whole)) == expected
    for answer in (events, dialect.decode_reply(whole)):
        builder = folded(answer)
        reply = builder.reply(worker="w", provider="p", model="m", attempts=())
        assert (reply.text, reply.logprobs) == ("Hi!", tuple(expected))


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_with_log_probabilities_goes_back_without_them(name: str) -> None:
    dialect, streamed, _, _ = ANSWERS[name]
    message = folded(heard(dialect, [streamed])).message()
    request = ChatRequest(messages=(Message("user", "Hi"), message, Message("user", "More")))
    assert b"logp" not in (dialect.encode(request, "p", "m").body or b"").lower()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chat completions", "Responses", "Gemini", "Cohere", "Ollama"])
def test_an_answer_with_them_keeps_the_promises_of_a_dialect(name: str) -> None:
    dialect, streamed, whole, _ = ANSWERS[name]
    conformance.check_stream(dialect, streamed)
    conformance.check_twins(dialect, streamed, whole)


def test_they_come_before_the_text_of_their_tokens() -> None:
    for name in ("chat completions", "Responses", "Gemini", "Ollama"):
        dialect, streamed, _, (first, second) = ANSWERS[name]
        events = [e for e in heard(dialect, [streamed]) if isinstance(e, TextDelta | LogprobsDelta)]
        assert events == [LogprobsDelta((first,)), TextDelta("Hi"), LogprobsDelta((second,)), TextDelta("!")]


# ------------------------------------------------------------------ reasoning

THOUGHT = TokenLogprob("Hi", -0.25, b"Hi", HI.top, is_reasoning=True)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (  # DeepSeek has a list of its own for reasoning
            CHAT,
            sse(
                chunk({"reasoning_content": "Hi"}, {"content": None, "reasoning_content": [OPENAI_HI]}),
                chunk({"content": "!"}, {"content": [OPENAI_MARK]}, "stop"),
                "[DONE]",
            ),
        ),
        (  # vLLM has one list; a chunk has tokens of one kind
            CHAT,
            sse(
                chunk({"reasoning": "Hi"}, {"content": [OPENAI_HI]}),
                chunk({"content": "!"}, {"content": [OPENAI_MARK]}, "stop"),
                "[DONE]",
            ),
        ),
        (
            OLLAMA,
            lines(
                {"message": {"content": "", "thinking": "Hi"}, "logprobs": [OPENAI_HI], "done": False},
                line("!", [OPENAI_MARK], **DONE),
            ),
        ),
    ],
    ids=["DeepSeek", "vLLM", "Ollama"],
)
def test_tokens_of_reasoning_are_marked(dialect: Dialect, body: bytes) -> None:
    events = heard(dialect, [body])
    assert ReasoningDelta("Hi") in events
    assert tokens_in(events) == [THOUGHT, MARK]


def test_a_whole_answer_of_deepseek_has_its_reasoning_first() -> None:
    logprobs = {"content": [OPENAI_MARK], "reasoning_content": [OPENAI_HI]}
    message = {"content": "!", "reasoning_content": "Hi"}
    events = CHAT.decode_reply(json.dumps(message_chunk(message, logprobs)).encode())
    assert tokens_in(events) == [THOUGHT, MARK]


# ------------------------------------------------------------------ nonsense


def bodies_with(value: object) -> Mapping[Dialect, tuple[bytes, bytes]]:
    """A streamed and a whole answer of each dialect, with `value` in the place of its log probabilities."""
    cohere = {"finish_reason": "COMPLETE", "message": {"content": [{"text": "Hi!"}]}, "logprobs": value}
    return {
        CHAT: (
            sse(chunk({"content": "Hi!"}, value), chunk({}, value, "stop"), "[DONE]"),
            json.dumps(message_chunk({"content": "Hi!"}, value)).encode(),
        ),
        RESPONSES: (
            sse(text_delta("Hi!", value), item_done(value), completed(value)),
            json.dumps(response_of(value)).encode(),
        ),
        GEMINI: (sse(candidate("Hi!", value, "STOP")), json.dumps(candidate("Hi!", value, "STOP")).encode()),
        COHERE: (sse(content_delta("Hi!", value), COHERE_END), json.dumps(cohere).encode()),
        OLLAMA: (lines(line("Hi!", value, **DONE)), lines(line("Hi!", value, **DONE))),
    }


NONSENSE: list[object] = [
    None,
    [],
    {},
    "x",
    7,
    True,
    [None, 3, "x", [], {}],
    [{"token": None, "logprob": -1}],
    {"content": {"token": "x"}, "refusal": 3, "reasoning_content": "x"},
    {"tokens": "ab", "token_logprobs": [1]},
    {"tokens": [1, None], "token_logprobs": [1, 2], "top_logprobs": 3},
    {"chosenCandidates": {"token": "x"}, "topCandidates": [3]},
    {"chosenCandidates": [None, 3, {"token": 3}], "topCandidates": 3},
    {"text": "x", "logprobs": None},
    [{"text": 3, "logprobs": [1]}, {"logprobs": [1]}, {"text": "x"}],
]


@pytest.mark.parametrize("place", range(len(NONSENSE)))
def test_nonsense_is_left_out_and_fails_no_answer(place: int) -> None:
    for dialect, (streamed, whole) in bodies_with(NONSENSE[place]).items():
        for events in (heard(dialect, [streamed]), dialect.decode_reply(whole)):
            assert tokens_in(events) == []
            assert folded(events).text == "Hi!"
            assert isinstance(events[-1], Finished)


@settings(max_examples=25)
@given(JSON)
def test_no_value_in_their_place_fails_an_answer(value: object) -> None:
    for shaped in (
        value,
        [value],
        {"content": [value]},
        {"chosenCandidates": [value], "topCandidates": [value]},
    ):
        for dialect, (streamed, whole) in bodies_with(shaped).items():
            for events in (heard(dialect, [streamed]), dialect.decode_reply(whole)):
                assert folded(events).text == "Hi!"
                assert isinstance(events[-1], Finished)


@pytest.mark.parametrize(
    ("written", "logprob"),
    [
        ("-0.5", -0.5),
        ("0", 0.0),
        ("-9999.0", -9999.0),
        ("1e-9", 1e-9),
        *((text, None) for text in ("null", "NaN", "-Infinity", "Infinity", "1e999", "-1e999")),
        *((text, None) for text in ("true", '"-0.5"', "[-0.5]", "1" * 400)),
    ],
)
def test_a_log_probability_is_a_finite_number_or_none(written: str, logprob: float | None) -> None:
    body = '{"choices":[{"delta":{"content":"Hi"},"logprobs":{"content":[{"token":"Hi","logprob":%s}]}}]}'
    [token] = tokens_in(CHAT.decoder().feed(sse(body % written)))
    assert (token.token, token.logprob) == ("Hi", logprob)
    assert token.logprob is None or (type(token.logprob) is float and math.isfinite(token.logprob))


@pytest.mark.parametrize("value", [None, "Hi", 3, [256], [-1], ["a"], [None], [10**30], {}])
def test_bytes_that_are_none_are_left_out(value: object) -> None:
    token = {"token": "Hi", "logprob": -1, "bytes": value}
    events = CHAT.decoder().feed(sse(chunk({"content": "Hi"}, {"content": [token]})))
    assert tokens_in(events) == [TokenLogprob("Hi", -1.0)]


def test_a_token_may_be_half_a_character() -> None:
    halves = [{"token": "\ufffd", "logprob": -1, "bytes": list(half)} for half in (b"\xf0\x9f", b"\x8c\x8d")]
    events = CHAT.decoder().feed(sse(*(chunk({"content": ""}, {"content": [half]}) for half in halves)))
    assert b"".join(token.bytes or b"" for token in tokens_in(events)).decode() == "🌍"


# ------------------------------------------------------------------ replies


def test_a_restart_discards_those_of_the_answer_before() -> None:
    builder = ReplyBuilder()
    builder.add(LogprobsDelta((HI,)))
    builder.add(Restarted(Failure(FailureKind.TRUNCATED, "cut"), "w"))
    builder.add_all([LogprobsDelta((MARK,)), TextDelta("!"), Finished(FinishReason.STOP)])
    reply = builder.reply(worker="w", provider="p", model="m", attempts=())
    assert reply.logprobs == (MARK,)
    assert "logprobs=<1 tokens>" in repr(reply)


def test_a_reply_without_them_has_none() -> None:
    assert ReplyBuilder().reply(worker="w", provider="p", model="m", attempts=()).logprobs == ()
