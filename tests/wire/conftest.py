"""Recorded answers, for every test here."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hearing import Recording


@pytest.fixture(scope="session")
def recording(shared_dir: Path) -> Callable[[str], Recording]:
    """Load a recording by its path, such as "recordings/groq/text.json"."""

    def load(path: str) -> Recording:
        file = shared_dir / "wire" / path
        return Recording(file.read_bytes(), json.loads(file.with_suffix(".meta.json").read_text()))

    return load
