"""Fixtures that all tests share."""

import os
import signal
from pathlib import Path

import pytest
from key_watch import KeyWatch

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Watch over every key; and hear Ctrl-C again where a shell started us in the background, deaf to it."""
    config.pluginmanager.register(KeyWatch())  # which configures it as well
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with recordings and vectors; it is not part of the project, so tests skip without it."""
    found = Path(os.environ.get("CORTEX_SHARED", ROOT.parent / "shared"))
    if not (found / "wire").is_dir():
        pytest.skip("recordings and vectors are not here: set CORTEX_SHARED to their folder")
    return found
