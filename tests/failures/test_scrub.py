"""Error bodies echo keys: whole, masked, or cut. None of it may reach a Failure."""

import json
import pickle

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.failures import classify, classify_payload, scrub

SHAPED = {
    "openai": "sk-proj-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4",
    "anthropic": "sk-ant-api03-Zm9vYmFyYmF6cXV4Zm9vYmFy",
    "groq": "gsk_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6",
    "xai": "xai-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6",
    "gemini": "AIzaSyZm9vYmFyYmF6cXV4Zm9vYmFyYmF6",
}
COHERE = "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFy"
"""A key without a shape of its own: only who knows it can find it."""

SAYINGS = (
    "Incorrect API key provided: {}. You can find yours at https://example.com.",
    "key={}",
    '"{}"',
    "Authorization: Bearer {}",
    "({},{})",
)


@pytest.mark.parametrize("key", SHAPED.values(), ids=SHAPED)
@pytest.mark.parametrize("saying", SAYINGS)
def test_what_looks_like_a_key_is_hidden_even_if_it_is_no_known_secret(key: str, saying: str) -> None:
    assert key[6:20] not in scrub(saying.replace("{}", key))


@pytest.mark.parametrize("key", [*SHAPED.values(), COHERE], ids=[*SHAPED, "cohere"])
@pytest.mark.parametrize("saying", SAYINGS)
def test_a_key_we_know_goes_whatever_it_looks_like(key: str, saying: str) -> None:
    said = scrub(saying.replace("{}", key), [key])
    assert key not in said
    assert "***" in said


@pytest.mark.parametrize("key", [*SHAPED.values(), COHERE], ids=[*SHAPED, "cohere"])
@pytest.mark.parametrize("kept", [12, 20, 31])
def test_the_beginning_of_a_key_we_know_goes_as_well(key: str, kept: int) -> None:
    """A body is read up to a limit and a message is cut: both may cut through a key."""
    assert key[:kept] not in scrub(f"the key {key[:kept]}", [key])
    assert key[:kept] not in scrub(f"the key {key[:kept]}… is wrong", [key])


@pytest.mark.parametrize("mask", ["********************", "...", "…", "****"])
def test_a_masked_key_of_a_known_shape_goes_with_its_mask(mask: str) -> None:
    said = scrub(f"Incorrect API key provided: sk-proj-Zm9v{mask}YmFy.")
    assert "Zm9v" not in said


def test_plain_words_stay_as_they_are() -> None:
    text = (
        "The task-list of model gpt-5 asks: disk-full, risk-free, ask again in 6m0s; see https://x.ai/docs."
    )
    assert scrub(text) == text
    assert scrub(text, [COHERE]) == text


def test_an_empty_secret_hides_nothing() -> None:
    assert scrub("hello", [""]) == "hello"


ECHOES = {
    "json": lambda key: json.dumps({"error": {"message": f"bad key {key}", "code": key}}).encode(),
    "a string": lambda key: json.dumps({"error": f"bad key {key}"}).encode(),
    "its type": lambda key: json.dumps({"error": {"message": "bad key", "type": key}}).encode(),
    "text": lambda key: f"bad key {key}".encode(),
    "html": lambda key: f"<html><b>{key}</b></html>".encode(),
    "nothing else": lambda key: json.dumps(key).encode(),
    "cut short": lambda key: json.dumps({"error": {"message": f"bad key {key}"}}).encode()[:-12],
    "far back": lambda key: json.dumps({"message": "x" * 170 + f" {key}"}).encode(),
    "a list": lambda key: json.dumps([{"error": {"message": f"bad key {key}"}}]).encode(),
}


@pytest.mark.parametrize("key", [SHAPED["openai"], COHERE], ids=["openai", "cohere"])
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("status", [400, 401, 500, 302])
def test_no_echo_of_the_key_is_left_in_a_failure(key: str, echo: object, status: int) -> None:
    assert callable(echo)
    failure = classify(status, {"x-request-id": key}, echo(key), secrets=[key])
    for shown in (repr(failure), str(failure), str(attrs.asdict(failure)), str(pickle.dumps(failure))):
        assert key[:16] not in shown
        assert key.lower()[:16] not in shown


def test_no_echo_inside_a_stream_is_left_in_a_failure() -> None:
    failure = classify_payload({"error": {"message": f"bad key {COHERE}", "code": COHERE}}, secrets=[COHERE])
    assert COHERE[:16].lower() not in repr(failure).lower()


@given(st.text(max_size=60), st.text("abcdefghijklmnop0123456789", min_size=16, max_size=40))
def test_wherever_it_stands_a_known_key_is_never_left(text: str, key: str) -> None:
    for place in range(0, len(text) + 1, 7):
        assert key not in scrub(text[:place] + key + text[place:], [key])
