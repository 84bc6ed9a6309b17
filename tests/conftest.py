"""Fixtures every room shares."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with recordings and vectors; it is not part of the project, so tests skip without it."""
    found = Path(os.environ.get("CORTEX_SHARED", ROOT.parent / "shared"))
    if not (found / "wire").is_dir():
        pytest.skip("recordings and vectors are not here: set CORTEX_SHARED to their folder")
    return found
