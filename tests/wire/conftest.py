"""Recorded answers, and the ways a network may have cut them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest


@attrs.frozen
class Recording:
    """A recorded (or constructed) body and what is known of the exchange it came from."""

    body: bytes
    meta: dict[str, Any]

    @property
    def request(self) -> dict[str, Any]:
        found: dict[str, Any] = self.meta["request_body"]
        return found

    def slicings(self) -> Iterator[list[bytes]]:
        """Whole, byte by byte, and as it came from the network where that was recorded."""
        yield [self.body]
        yield [self.body[at : at + 1] for at in range(len(self.body))]
        lengths = self.meta.get("network_chunk_lengths", [])
        ends = [sum(lengths[: place + 1]) for place in range(len(lengths))]
        if ends:
            assert ends[-1] == len(self.body)
            yield [self.body[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@pytest.fixture(scope="session")
def recording(shared_dir: Path) -> Callable[[str], Recording]:
    """Load a recording by its path, such as "recordings/groq/text.json"."""

    def load(path: str) -> Recording:
        file = shared_dir / "wire" / path
        return Recording(file.read_bytes(), json.loads(file.with_suffix(".meta.json").read_text()))

    return load
