"""What error texts show of values: never a key, never a control character, never without end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio import ConfigError
from cortex_trio.failures.shown import closest, listed, looks_like_key, masked, named, printable, shown

KEYS = {
    "openai": "sk-proj-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6",
    "anthropic": "sk-ant-api03-Zm9vYmFyYmF6cXV4Zm9v-YmFyYmF6AA",
    "groq": "gsk_Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6Zm9vYmFyYmF6",
    "xai": "xai-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6Zm9vYmFyYmF6",
    "gemini": "AIzaSyZm9vYmFyYmF6cXV4Zm9vYmFyYmF6Zm9",
    "cohere": "Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6Zm9vYmFyYmF6",
    "azure": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "bearer": "Bearer Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6",
}
HIDDEN = "Y3V4", "cXV4Zm9v", "69788796"


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("show", [shown, named, lambda key: listed([key]), lambda key: shown({key: [key]})])
def test_no_key_of_any_provider_is_shown(key: str, show: object) -> None:
    assert callable(show)
    assert not [piece for piece in HIDDEN if piece in show(key)]
    assert not [piece for piece in HIDDEN if piece in show(f"x {key} y")]


@pytest.mark.parametrize("key", [key for name, key in KEYS.items() if name not in ("cohere", "azure")])
def test_a_key_with_a_prefix_is_masked_in_a_config_error_whatever_brought_it_there(key: str) -> None:
    error = ConfigError(f"$.{key}", f"not {key!r}")
    assert not [piece for piece in HIDDEN if piece in f"{error} {error.path} {error.problem} {error!r}"]
    assert str(error.under(f"$.{key}")).count("***") == 3


@pytest.mark.parametrize(
    "word",
    [
        "gpt-6.1-terra",
        "opnai",
        "https://api.example.com/v1/openai",
        "a-long-name-of-a-worker-in-words",
        "x" * 40,
        "1" * 40,
        "disk-cache",
    ],
)
def test_words_are_shown_as_they_are(word: str) -> None:
    assert word in shown(word)
    assert named(word) == word


def test_a_name_that_is_a_key_is_recognised() -> None:
    assert looks_like_key(KEYS["openai"])
    assert not looks_like_key("sk-team-one")
    assert not looks_like_key("worker-sk-1")


def test_control_characters_are_escaped() -> None:
    text = "a\x1b[31mred\nline\x00\u202eright\x9b"
    assert printable(text) == "a\\x1b[31mred\\nline\\x00\\u202eright\\x9b"
    assert printable("Grüße, “quoted” …") == "Grüße, “quoted” …"
    assert str(ConfigError("$.a\x1bb", "not \x1b[2J")) == "$.a\\x1bb: not \\x1b[2J"


@pytest.mark.parametrize("value", ["word " * 1000, ["abc"] * 1000, 10**400, {"a": "b" * 5000}])
def test_what_is_shown_is_short(value: object) -> None:
    assert len(shown(value)) <= 80
    assert shown(value).endswith("…")


def test_a_value_without_a_repr_is_named_by_its_type() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert shown(Broken()) == "a value of type Broken"
    assert shown(10**5000) == "a value of type int"


def test_a_list_of_names_ends_after_ten() -> None:
    assert listed([]) == "none"
    assert listed(["a", "b"]) == "a, b"
    assert listed(str(n) for n in range(12)) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert len(listed("m" * 500 for _ in range(10_000))) < 800


@pytest.mark.parametrize(
    ("name", "meant"),
    [("priotity", "priority"), ("apiKeys", "api_keys"), ("Timeout", "timeout"), ("zzz", None), ("", None)],
)
def test_the_name_that_was_probably_meant(name: str, meant: str | None) -> None:
    assert closest(name, ["api_keys", "priority", "timeout"]) == meant


@given(st.text())
def test_masking_and_escaping_twice_changes_nothing(text: str) -> None:
    once = printable(masked(text))
    assert printable(masked(once)) == once
