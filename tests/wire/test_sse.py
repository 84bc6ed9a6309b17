"""The reader of server-sent events, against the grammar's vectors at every slicing."""

import base64
import json
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.wire.framing import TooLarge
from cortex_trio.wire.sse import SseEvent, SseReader


def read(chunks: Iterable[bytes]) -> tuple[list[SseEvent], bool]:
    reader = SseReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return events, reader.finish()


def bytewise(body: bytes) -> list[bytes]:
    return [body[index : index + 1] for index in range(len(body))]


def read_into(seen: list[SseEvent], reader: SseReader, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        seen.extend(reader.feed(chunk))  # keeps what came before an error


def messages(body: bytes) -> list[str]:
    return [event.data for event in read([body])[0]]


@pytest.fixture(scope="module")
def vectors(shared_dir: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((shared_dir / "wire/vectors/sse.json").read_text())["vectors"]
    assert len(found) >= 55
    return found


def test_every_vector_holds_whole_byte_by_byte_and_at_every_two_way_split(
    vectors: list[dict[str, Any]],
) -> None:
    for vector in vectors:
        body = base64.b64decode(vector["input_b64"])
        slicings = [[body], bytewise(body), *([body[:cut], body[cut:]] for cut in range(1, len(body)))]
        for chunks in slicings:
            events, incomplete = read(chunks)
            seen = [{"event": event.event, "data": event.data, "id": event.id} for event in events]
            assert seen == vector["events"], (vector["name"], chunks)
            assert incomplete == vector["incomplete_at_eof"], (vector["name"], chunks)
            if vector["retry"] is not None:
                assert events[-1].retry == vector["retry"], (vector["name"], chunks)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", ["a", "b"]),
        (b"data: a\r\rdata: b\r\n\r\n", ["a", "b"]),
        (b"data: {\ndata: }\n\n", ["{\n}"]),
        (b"data\n\n", [""]),
        (b"data:  two spaces\n\n", [" two spaces"]),
        (b": comment\n\ndata: a\n: comment\ndata: b\n\n", ["a\nb"]),
        (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
        (b'data: "\xe2\x80\xa8\xc2\x85\x0c"\n\n', ['"\u2028\x85\x0c"']),
        (b"data: \xe3\x81\n\ndata: \xe6\x97\xa5\n\n", ["�", "日"]),
        (b"data: a\n\ndata: cut", ["a"]),
    ],
)
def test_the_grammar_in_small(body: bytes, expected: list[str]) -> None:
    assert messages(body) == expected
    assert [event.data for event in read(bytewise(body))[0]] == expected


def test_a_carriage_return_ends_its_line_without_waiting_for_the_next_byte() -> None:
    reader = SseReader()
    assert [event.data for event in reader.feed(b"data: a\r\r")] == ["a"]
    assert list(reader.feed(b"\n")) == []


@given(st.lists(st.sampled_from([b"data", b":", b" ", b"\n", b"\r", b"\xe6\x97", b"\xa5", b"id", b"x"])))
def test_any_slicing_reads_the_same(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    assert read(pieces) == read([body]) == read(bytewise(body))


def test_stray_lines_are_handed_to_who_asked_for_them() -> None:
    unknown_lines: list[str] = []
    reader = SseReader(on_unknown_line=unknown_lines.append)
    events = list(reader.feed(b'data: a\n\n: comment\nid: 1\nretry: 5\nevent: e\n\n{\n  "error": 1\n'))
    assert [event.data for event in events] == ["a"]
    assert unknown_lines == ["{", '  "error": 1']
    assert list(reader.feed(b"}")) == []
    assert reader.finish()
    assert unknown_lines[-1] == "}"


BIG = [
    pytest.param(b"data: " + b"x" * 100, id="one long line"),
    pytest.param(b"data: xxxx\n" * 10, id="many lines of one event"),
    pytest.param(b"data\n" * 30, id="many empty lines of one event"),
    pytest.param(b":" + b"x" * 100 + b"\n", id="a long comment"),
]


@pytest.mark.parametrize("big", BIG)
def test_an_event_over_the_limit_is_refused_after_the_events_before_it(big: bytes) -> None:
    for chunks in ([b"data: a\n\n" + big], bytewise(b"data: a\n\n" + big)):
        reader = SseReader(limit=64)
        seen: list[SseEvent] = []
        with pytest.raises(TooLarge, match="64"):
            read_into(seen, reader, chunks)
        assert [event.data for event in seen] == ["a"]


def test_the_limit_is_one_of_events_not_of_streams() -> None:
    reader = SseReader(limit=64)
    for _ in range(100):
        assert [event.data for event in reader.feed(b"data: " + b"x" * 50 + b"\n\n")] == ["x" * 50]


def test_megabytes_without_an_end_leave_no_memory_behind() -> None:
    reader = SseReader(limit=8 * 1024 * 1024)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            read_into([], reader, (b"x" * 65536 for _ in range(160)))
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()


def test_byte_by_byte_reading_takes_linear_time() -> None:
    def seconds(size: int) -> float:
        chunks = bytewise(b"data: " + b"x" * size + b"\n\n")
        start = time.process_time()
        read(chunks)
        return time.process_time() - start

    small = min(seconds(10_000) for _ in range(3))
    assert min(seconds(80_000) for _ in range(2)) < 8 * small * 3  # quadratic would be 64 times
