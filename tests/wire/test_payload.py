"""JSON from a server: whatever it is, it is read or named."""

import pytest

from cortex_trio.wire.payload import (
    Malformed,
    arguments_text,
    as_count,
    as_list,
    as_object,
    as_text,
    load_object,
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON: Expecting value at 0 of 0"),
        ('{"a": 1', "not JSON: Expecting ',' delimiter at 7 of 7"),
        (b"\xff\xff", "not JSON"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "a JSON object was expected, not a list"),
        ("null", "a JSON object was expected, not null"),
    ],
)
def test_what_is_no_json_object_is_named_without_quoting_it(text: str | bytes, says: str) -> None:
    with pytest.raises(Malformed, match=says):
        load_object(text)


def test_an_object_is_read_from_text_and_from_bytes() -> None:
    assert load_object('{"a": "ü"}') == load_object('{"a": "ü"}'.encode()) == {"a": "ü"}


def test_null_and_missing_are_nothing() -> None:
    assert as_text(None, "x") == ""
    assert as_list(None, "x") == []
    with pytest.raises(Malformed, match="x was expected, not null"):
        as_object(None, "x")


def test_other_types_are_named_by_place() -> None:
    with pytest.raises(Malformed, match=r"delta\.text is a int, not a string"):
        as_text(5, "delta.text")
    with pytest.raises(Malformed, match="content is a str, not a list"):
        as_list("no", "content")


@pytest.mark.parametrize(
    ("value", "count"), [(0, 0), (7, 7), (-1, None), (True, None), (1.5, None), ("7", None), (None, None)]
)
def test_a_count_is_a_count_or_nothing(value: object, count: int | None) -> None:
    assert as_count(value) == count


@pytest.mark.parametrize(
    ("value", "text"),
    [({"ü": [1]}, '{"ü":[1]}'), ({}, "{}"), (None, "{}"), ("", "{}"), ('{"a": 1}', '{"a": 1}'), ([1], "[1]")],
)
def test_arguments_that_came_whole_become_text_once(value: object, text: str) -> None:
    assert arguments_text(value) == text
