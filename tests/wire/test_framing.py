"""Lines out of bytes: each byte once, nothing lost, nothing kept."""

from hypothesis import given
from hypothesis import strategies as st

from cortex_trio.wire.framing import LineSplitter


def split(chunks: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines, splitter.take()


def test_lines_come_without_their_line_feed_and_an_unfinished_one_waits() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntwo\nthr") == [b"one", b"two"]
    assert splitter.pending == 3
    assert splitter.feed(b"ee\n\n") == [b"three", b""]
    assert splitter.pending == 0


def test_taking_the_unfinished_line_drops_it() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"half") == []
    assert splitter.take() == b"half"
    assert splitter.take() == b""
    assert splitter.feed(b"new\n") == [b"new"]


@given(st.lists(st.binary(max_size=8).map(lambda piece: piece.replace(b"\x01", b"\n")), max_size=30))
def test_any_slicing_gives_the_lines_of_the_whole(chunks: list[bytes]) -> None:
    *lines, rest = b"".join(chunks).split(b"\n")
    assert split(chunks) == (lines, rest)
