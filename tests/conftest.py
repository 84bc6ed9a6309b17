"""Fixtures and plugins for all tests."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from key_watch import KeyWatch

ROOT = Path(__file__).resolve().parents[1]
YOUNG_OBJECTS = 10_000

hypothesis.settings.register_profile("suite", deadline=None)  # real time: a loaded machine stops for 0.2 s
hypothesis.settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Register KeyWatch; handle Ctrl-C also where a shell that started pytest in the background made it ignored."""
    config.pluginmanager.register(KeyWatch())  # pluggy calls its `pytest_configure`
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[object]:
    """Keep the garbage collector away from the 15,000 collected tests: they stay to the end.

    Otherwise it reads them again and again while they are made, and then in every `gc.collect()` of a test. During the
    tests it collects more rarely, as in `cortex-trio serve`: 8 % of the processor time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS)


@pytest.fixture(scope="session", autouse=True)
def prices_are_loaded() -> None:
    """Load the prices now: within a test that measures real time, the import of 0.3 s would count."""
    from cortex_trio.costs import load_prices

    load_prices()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder with recordings and vectors. It is not part of the project: without it tests are skipped."""
    found = Path(os.environ.get("CORTEX_SHARED", ROOT.parent / "shared"))
    if not (found / "wire").is_dir():
        pytest.skip("recordings and vectors are not here: set CORTEX_SHARED to their folder")
    return found
