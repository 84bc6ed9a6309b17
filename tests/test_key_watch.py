"""The watch over keys bites: a test that lets one out fails, wherever that was, and one that does not passes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent

CONFTEST = """
from key_watch import KeyWatch

def pytest_configure(config):
    config.pluginmanager.register(KeyWatch())
"""

LEAKS = """
import json
import logging
import warnings

import pytest

from cortex_trio import ApiKey, WorkerConfig
from cortex_trio.telemetry import Telemetry

SHORT = "sk-of-a-test-01"
LONG = "sk-proj-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6"


@pytest.fixture
def key():
    return WorkerConfig(provider="openai", api_keys=[LONG, SHORT]).api_keys[0].reveal()


def test_in_a_log(key):
    logging.getLogger("some.library").debug("sent %s", {"x-api-key": key})


def test_a_short_key_in_a_log(key):
    logging.getLogger("some.library").debug("sent " + SHORT)


def test_its_middle_in_a_log(key):
    logging.getLogger("some.library").debug("sent …" + key[11:-6])


def test_in_a_frame_of_a_logged_error(key):
    try:
        json.loads(key)
    except ValueError:
        logging.getLogger("some.library").exception("bad")


def test_in_an_event(key):
    Telemetry().emit(("asked", key))


def test_in_a_warning(key):
    warnings.warn(key)


def test_in_an_error_that_is_expected(key):
    with pytest.raises(LookupError):
        raise LookupError(key)


def test_in_the_cause_of_an_error_that_is_expected(key):
    with pytest.raises(LookupError):
        raise LookupError("bad") from ValueError(key)


def test_in_a_frame_of_an_error_that_is_expected(key):
    with pytest.raises(ValueError):
        json.loads(key)


def test_in_the_error_it_fails_with(key):
    raise LookupError(key)
"""

TIGHT = """
import logging

import pytest

from cortex_trio import ApiKey


def test_that_shows_the_mask():
    key = ApiKey("sk-proj-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6")
    logging.getLogger("ours").warning("asked with %s", key)
    with pytest.raises(LookupError):
        raise LookupError(key)


def test_whose_text_was_a_key_in_another_test():
    logging.getLogger("ours").warning("Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6")
"""


@pytest.mark.slow
def test_a_test_that_lets_a_key_out_fails_and_others_do_not(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_leaks.py").write_text(LEAKS)
    (tmp_path / "test_tight.py").write_text(TIGHT)
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-W", "error", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = run.stdout
    caught = {line.split()[1] for line in output.splitlines() if line.startswith("ERROR test_leaks.py")}
    assert caught == {
        f"test_leaks.py::{line.split()[1].partition('(')[0]}"
        for line in LEAKS.splitlines()
        if line.startswith("def test")
    }, output
    assert output.count("PASSED test_tight.py") == 2, output
    assert "ERROR test_tight.py" not in output, output
