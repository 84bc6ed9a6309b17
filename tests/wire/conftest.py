"""Recorded answers, for every test here; and no example fails by the clock.

Hypothesis fails a test whose examples take longer than 200 ms, or a second to draw the first ten of them (the first
of all builds the strategies). On a machine that does other work that depends on the seed's luck, not on a decoder.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hearing import Recording
from hypothesis import HealthCheck, settings

settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")


@pytest.fixture(scope="session")
def recording(shared_dir: Path) -> Callable[[str], Recording]:
    """Load a recording by its path, such as "recordings/groq/text.json"."""

    def load(path: str) -> Recording:
        file = shared_dir / "wire" / path
        return Recording(file.read_bytes(), json.loads(file.with_suffix(".meta.json").read_text()))

    return load
