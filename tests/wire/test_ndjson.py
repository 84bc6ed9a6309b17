"""The reader of newline-delimited JSON, at every slicing."""

import base64
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from cortex_trio.wire.framing import TooLarge
from cortex_trio.wire.ndjson import NdjsonReader


def read(chunks: Iterable[bytes]) -> tuple[list[bytes], bytes | None]:
    reader = NdjsonReader()
    lines = [line for chunk in chunks for line in reader.feed(chunk)]
    return lines, reader.finish()


def bytewise(body: bytes) -> list[bytes]:
    return [body[index : index + 1] for index in range(len(body))]


def read_into(seen: list[bytes], reader: NdjsonReader, chunks: Iterable[bytes]) -> None:
    for chunk in chunks:
        seen.extend(reader.feed(chunk))  # keeps what came before an error


def is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_every_vector_holds_whole_byte_by_byte_and_at_every_two_way_split(shared_dir: Path) -> None:
    for vector in json.loads((shared_dir / "wire/vectors/ndjson.json").read_text()):
        body = base64.b64decode(vector["input_b64"])
        slicings = [[body], bytewise(body), *([body[:cut], body[cut:]] for cut in range(1, len(body)))]
        for chunks in slicings:
            lines, rest = read(chunks)
            incomplete = rest is not None and not is_json(rest)
            whole = lines if rest is None or incomplete else [*lines, rest]
            assert len(whole) == vector["objects"], (vector["name"], chunks)
            assert all(is_json(line) for line in whole)
            assert incomplete == vector["incomplete"], (vector["name"], chunks)


def test_blank_lines_and_carriage_returns_vanish() -> None:
    assert read([b'{"a":1}\r\n\r\n \n{"a":2}\n']) == ([b'{"a":1}', b'{"a":2}'], None)


def test_a_last_line_without_its_line_feed_is_left_to_finish() -> None:
    assert read([b'{"a":1}\n{"a"', b":2} "]) == ([b'{"a":1}'], b'{"a":2}')


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_over_the_limit_is_refused_after_the_lines_before_it(end: bytes) -> None:
    body = b"{}\n" + b"x" * 100 + end
    for chunks in ([body], bytewise(body)):
        reader = NdjsonReader(limit=64)
        seen: list[bytes] = []
        with pytest.raises(TooLarge, match="64"):
            read_into(seen, reader, chunks)
        assert seen == [b"{}"]
        assert reader.finish() is None
