"""The reader of a JSON array that is still being written, at every slicing."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.wire.framing import TooLarge
from cortex_trio.wire.json_array import JsonArrayReader


def read(chunks: Iterable[bytes]) -> tuple[list[bytes], bool]:
    reader = JsonArrayReader()
    elements = [element for chunk in chunks for element in reader.feed(chunk)]
    return elements, reader.finish()


def read_into(seen: list[bytes], reader: JsonArrayReader, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        seen.extend(reader.feed(chunk))  # keeps what came before an error


def bytewise(body: bytes) -> list[bytes]:
    return [body[index : index + 1] for index in range(len(body))]


def sliced(body: bytes) -> Iterable[list[bytes]]:
    yield [body]
    yield bytewise(body)
    yield from ([body[:cut], body[cut:]] for cut in range(1, len(body)))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(values=st.lists(ANYTHING), indent=st.sampled_from([None, 0, 2]), escaped=st.booleans())
def test_any_array_comes_out_element_by_element_whole_or_byte_by_byte(
    values: list[object], indent: int | None, escaped: bool
) -> None:
    body = json.dumps(values, indent=indent, ensure_ascii=escaped).encode()
    for chunks in ([body], bytewise(body)):
        elements, complete = read(chunks)
        assert [json.loads(element) for element in elements] == values
        assert complete


def test_brackets_quotes_and_backslashes_inside_strings_end_nothing_at_any_split() -> None:
    body = rb'[{"a": "}],[{\"\\"}, "],", "\\", [1, [2]], {"\"": {}}]'
    expected = [rb'{"a": "}],[{\"\\"}', b'"],"', rb'"\\"', b"[1, [2]]", rb'{"\"": {}}']
    for chunks in sliced(body):
        assert read(chunks) == (expected, True)


def test_an_object_comes_out_at_its_closing_brace_without_waiting_for_the_comma() -> None:
    reader = JsonArrayReader()
    assert list(reader.feed(b'[{"a": 1')) == []
    assert reader.inside
    assert list(reader.feed(b"}")) == [b'{"a": 1}']
    assert not reader.inside
    assert list(reader.feed(b"\r\n,\r\n")) == []
    assert not reader.inside


def test_a_number_comes_out_at_the_comma_or_the_bracket_because_only_they_end_it() -> None:
    reader = JsonArrayReader()
    assert list(reader.feed(b"[1")) == []
    assert list(reader.feed(b"2 ,")) == [b"12"]
    assert list(reader.feed(b" 3 ]")) == [b"3"]
    assert reader.complete


@pytest.mark.parametrize("body", [b"[]", b"[ \n ]", b" [\r\n]\r\n"])
def test_an_empty_array_has_no_elements_and_is_complete(body: bytes) -> None:
    for chunks in sliced(body):
        assert read(chunks) == ([], True)


@pytest.mark.parametrize("body", [b"", b"[", b'[{"a": 1}', b'[{"a": 1},', b'[{"a": "]"'])
def test_an_array_without_its_bracket_is_not_complete(body: bytes) -> None:
    for chunks in sliced(body):
        assert not read(chunks)[1]


def test_bytes_after_the_closing_bracket_are_ignored() -> None:
    for chunks in sliced(b'[{"a": 1}] , {"b": 2}]['):
        assert read(chunks) == ([b'{"a": 1}'], True)


def test_a_broken_element_comes_out_as_it_is_and_the_next_ones_still_do() -> None:
    assert read([b'[{"a": }, }, {"b": 2}]']) == ([b'{"a": }', b"}", b'{"b": 2}'], True)


@pytest.mark.parametrize("growth", [b"x" * 10, b'"' + b"x" * 10, b"{" * 10, b"[1, 2, 3, "])
def test_an_element_past_the_limit_is_refused_after_the_ones_before_it_and_its_memory_released(
    growth: bytes,
) -> None:
    for chunks in sliced(b"[1," + growth):
        reader = JsonArrayReader(limit=8)
        seen: list[bytes] = []
        with pytest.raises(TooLarge, match="more than 8 bytes"):
            read_into(seen, reader, chunks)
        assert seen == [b"1"]
        assert not reader.inside


def test_blanks_between_elements_are_not_kept() -> None:
    reader = JsonArrayReader(limit=8)
    assert list(reader.feed(b"[" + b" \n" * 100)) == []
    assert list(reader.feed(b"12" + b"," + b" " * 100)) == [b"12"]
    assert not reader.inside
