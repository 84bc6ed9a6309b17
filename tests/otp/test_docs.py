"""The kernel's documentation and examples are true: every snippet runs, pictures and tables are the kernel's own."""

import logging
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cortex_trio.otp import Crashed, ExitReason, Killed, Normal, Restart, Shutdown
from cortex_trio.otp.decision import child_exited

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "otp.md"
TEXT = PAGE.read_text(encoding="utf-8")
PICTURES = ROOT / "docs" / "tools" / "otp_pictures.py"


def test_every_snippet_of_the_page_runs_in_order() -> None:
    """They share one namespace, as a reader would type them."""
    logging.getLogger("cortex_trio.otp").setLevel(logging.CRITICAL)
    namespace: dict[str, object] = {"__name__": "page"}
    snippets = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(snippets) >= 15
    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), namespace)


def test_every_chapter_is_in_the_table_and_every_anchor_exists() -> None:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"\]\(#([^)]*)\)", TEXT)
    assert set(links) <= anchors
    chapters = [heading for heading in headings if re.match(r"\d+\. ", heading)]
    assert [f"| [{chapter}]" in TEXT for chapter in chapters] == [True] * 15


def test_the_table_of_restarts_is_the_kernels_own() -> None:
    reasons: dict[str, ExitReason] = {
        "Normal()": Normal(),
        "Shutdown()": Shutdown(),
        "Killed()": Killed(),
        "Crashed(error)": Crashed(ValueError()),
    }
    for name, reason in reasons.items():
        cells = [child_exited(reason, restart).name.lower() for restart in Restart]
        assert f"| `{name}` | {' | '.join(cells)} |" in TEXT


def test_the_pictures_are_what_the_tool_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: run `python docs/tools/otp_pictures.py` and look at what has changed."""
    monkeypatch.setattr(sys, "path", [str(PICTURES.parent), *sys.path])
    for file, text in runpy.run_path(str(PICTURES))["made"]().items():
        assert file.read_text(encoding="utf-8") == text
        assert f"(pictures/{file.name})" in TEXT


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


@pytest.mark.parametrize("name", ["own_tree", "echo_server", "rate_limiter", "pipeline", "periodic_job"])
def test_an_example_is_short(name: str) -> None:
    assert len((ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8").splitlines()) < 60


@pytest.fixture(autouse=True)
def _level_restored() -> Iterator[None]:
    """Snippets and example quieten the logger; other tests read it."""
    logger = logging.getLogger("cortex_trio.otp")
    level = logger.level
    yield
    logger.setLevel(level)
