"""Reading error bodies: layers, cuts, hostile ones; and what of them may reach a Failure."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_trio.failures import Failure, FailureKind, classify, classify_payload
from cortex_trio.failures.body import MAX_LAYERS, layers, load_json, read_body
from cortex_trio.failures.kinds import MESSAGE_LIMIT, UNPRINTABLE, WORD_LIMIT

K = FailureKind


# ------------------------------------------------------------------ cut bodies


def test_a_json_body_that_was_cut_gives_what_is_there() -> None:
    text = '{"error": {"code": "c", "message": "it is too'
    assert load_json(text) == {"error": {"code": "c", "message": "it is too"}}
    assert load_json(text[:23]) == {"error": {"code": "c"}}
    assert load_json('{"a": [1, {"b": 2') == {"a": [1, {}]}
    assert load_json('{"a": 1, "error') == {"a": 1}
    assert load_json('{"a": "x\\') == {"a": "x"}
    assert load_json('{"a": "x\\u00') == {"a": "x"}
    assert load_json('{"a": "x\\\\') == {"a": "x\\"}


def test_a_number_that_may_go_on_is_not_believed() -> None:
    """40 may have been 404."""
    assert load_json('{"message": "no", "code": 40') == {"message": "no"}


def test_what_is_behind_the_first_value_is_left_alone() -> None:
    assert load_json('{"a": 1}{"b": 2}') == {"a": 1}
    assert load_json('{"a": 1} trailing') == {"a": 1}


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 999) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)


def is_part(part: Any, whole: Any) -> bool:
    """Everything in `part` stands in `whole`, strings and collections perhaps cut."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(k in whole and is_part(v, whole[k]) for k, v in part.items())
    if isinstance(part, list):
        return isinstance(whole, list) and all(map(is_part, part, whole)) and len(part) <= len(whole)
    if isinstance(part, str):
        return isinstance(whole, str) and whole.startswith(part)
    return bool(part == whole)


@pytest.mark.slow
@settings(deadline=None)  # one example is a few hundred cuts
@given(st.dictionaries(st.text(max_size=6), values, max_size=4), st.booleans())
def test_a_cut_never_invents_anything(value: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert load_json(text) == value
    for cut in range(1, len(text)):
        part = load_json(text[:cut])
        assert part is None or is_part(part, value) or "\\ud" in text[:cut]


@given(
    st.binary(max_size=80) | st.text('{}[]",:\\u0aé ', max_size=60).map(str.encode),
    st.sampled_from([400, 404, 429]),
)
def test_no_body_makes_the_classifier_raise(body: bytes, status: int) -> None:
    assert classify(status, {}, body).status == status


# ------------------------------------------------------------------ layers


def test_a_wrapped_error_is_read_through_every_wrapping() -> None:
    inner = json.dumps({"error": {"message": "prompt is too long", "code": "inner"}})
    for wrapped in (
        {"error": {"message": "Provider returned error", "metadata": {"raw": inner}}},
        {"error_code": "BAD_REQUEST", "message": inner},
        {"detail": {"error": {"message": "prompt is too long"}}},
        {"message": {"detail": [{"msg": "prompt is too long"}]}},
        [{"error": {"message": "prompt is too long"}}],
        {"errors": [{"message": "prompt is too long"}]},
        {"errors": ["prompt is too long"]},
        {"error": "prompt is too long"},
        "prompt is too long",
        {"error": {"message": "upstream said: " + inner}},
    ):
        assert classify_payload(wrapped, status=400).kind is K.CONTEXT_LENGTH


def test_json_of_a_prompt_that_is_repeated_is_no_layer() -> None:
    repeated = 'Invalid content: {"message": "the model x does not exist and the prompt is too long"}'
    assert classify_payload({"error": {"message": repeated}}, status=400).kind is K.BAD_REQUEST


def test_layers_are_bounded() -> None:
    deep: Any = "x"
    for _ in range(200):
        deep = {"error": deep}
    assert len(layers(deep)) == MAX_LAYERS
    assert len(layers({"errors": [{"message": "x"}] * 1000})) == MAX_LAYERS


def test_a_message_that_is_no_text_is_none() -> None:
    assert read_body({"error": {"message": 7, "code": True, "type": None}}).codes == ()
    assert read_body({"error": [1, None, True]}).text == ""


HOSTILE = [
    "[" * 65_000,
    '{"a":' * 13_000,
    '"' * 65_000,
    '{"error":{"message":"' + "\\" * 65_000,
    '{"errors":[' + '{"message":"{"},' * 4_000,
    '{"error":"' + '{\\"' * 20_000,
    '{"error":{"message":"' + "the model is was has could " * 2_400 + '"}}',
    '{"error":{"message":"' + "messages input prompt tokens 1 exceed " * 1_700 + '"}}',
    '{"error":{"message":"' + "retry in 1s and 2s, " * 3_200 + '"}}',
    '{"error":{"message":"' + "'a \\\"b `c " * 6_000 + '"}}',
    "<" * 65_000,
    "<html>" + "<style" * 10_000,
    "Bearer " + " " * 60_000,
    "a" * 65_000,
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_body_costs_no_more_than_its_length(body: str) -> None:
    """What takes the square of 64 KiB takes minutes; these take milliseconds."""
    started = time.process_time()
    for status in (400, 404, 429, 503):
        classify(status, {"retry-after": body[:8_000]}, body.encode(), secrets=["k" * 40])
    assert time.process_time() - started < 2


# ------------------------------------------------------------------ texts

NASTY = "\x1b[31mred\x07 \x9b1m\u202eevil\u202c \u2028line\u200b\ufeff\x00\r\nnext\t."


@pytest.mark.parametrize(
    "failure",
    [
        Failure(K.SERVER, NASTY, code=NASTY, request_id=NASTY),
        classify(
            400, {"x-request-id": NASTY}, json.dumps({"error": {"message": NASTY, "code": NASTY}}).encode()
        ),
        classify(500, {"x-request-id": NASTY}, NASTY.encode()),
        classify(502, {"request-id": NASTY}, f"<html><p>{NASTY}</p></html>".encode()),
        classify_payload({"error": {"message": NASTY, "code": NASTY}}),
        classify(500, {}, b"\xff\xfe\xd8broken"),
        classify_payload({"error": {"message": "half \ud83d a pair", "code": "\udc00x"}}),
    ],
)
def test_no_control_character_reaches_a_failure(failure: Failure) -> None:
    for text in (failure.message, failure.code or "", failure.request_id or "", str(failure)):
        assert not UNPRINTABLE.search(text)
        text.encode()


def test_what_is_taken_out_does_not_join_what_it_stood_between() -> None:
    assert Failure(K.SERVER, "one\u200btwo\x00three").message == "one two three"


@given(st.text(max_size=400), st.text(max_size=300), st.text(max_size=300))
def test_texts_of_a_failure_are_bounded(message: str, code: str, request_id: str) -> None:
    failure = Failure(K.SERVER, message, code=code, request_id=request_id)
    assert len(failure.message) <= MESSAGE_LIMIT
    assert len(failure.code or "") <= WORD_LIMIT
    assert len(failure.request_id or "") <= WORD_LIMIT
    assert not UNPRINTABLE.search(failure.message + (failure.code or "") + (failure.request_id or ""))


def test_a_code_or_an_id_of_nothing_printable_is_none() -> None:
    failure = Failure(K.SERVER, code="\x1b", request_id="\u202e ")
    assert (failure.code, failure.request_id) == (None, None)


def test_a_key_split_by_invisible_characters_is_hidden_all_the_same() -> None:
    key = "sk-proj-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4"
    body = json.dumps({"error": {"message": f"bad key {key[:20]}\u200b{key[20:]}"}}).encode()
    message = classify(401, {}, body, secrets=[key]).message
    assert key[8:20] not in message
    assert key[22:34] not in message
