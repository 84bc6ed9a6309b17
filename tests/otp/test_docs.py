"""The kernel's documentation and example are true: every snippet runs."""

import logging
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "otp.md"


def test_every_snippet_of_the_page_runs_in_order() -> None:
    """They share one namespace, as a reader would type them."""
    logging.getLogger("cortex_trio.otp").setLevel(logging.CRITICAL)
    namespace: dict[str, object] = {"__name__": "page"}
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(snippets) >= 5
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), namespace)


def test_the_example_prints_what_happens(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples" / "own_tree.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == [
        "  progress: counter",
        "  progress: tasks",
        "it counted to 2",
        "  child_terminated: counter",
        "  progress: counter",
        "the call failed from ZeroDivisionError('integer division or modulo by zero')",
        "a new one counts to 1",
        "root         Supervisor      running",
        "├── counter  Counter         running, 1 restart",
        "└── tasks    TaskSupervisor  running",
    ]


def test_the_example_is_short() -> None:
    assert len((ROOT / "examples" / "own_tree.py").read_text().splitlines()) < 60


@pytest.fixture(autouse=True)
def _level_restored() -> Iterator[None]:
    """Snippets and example quieten the logger; other tests read it."""
    logger = logging.getLogger("cortex_trio.otp")
    level = logger.level
    yield
    logger.setLevel(level)
