"""Every snippet of docs/simulator.md runs, as a program or as a file of tests; docs/exam.md lists every scenario."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from log_lines import LOG_LINE

from cortex_trio.lab.exam.scorecard import all_scenarios

pytest_plugins = ["pytester"]

DOCS = Path(__file__).resolve().parents[2] / "docs"
SNIPPETS = re.findall(r"```python\n(.*?)```", (DOCS / "simulator.md").read_text(encoding="utf-8"), re.DOTALL)
TESTS = [snippet for snippet in SNIPPETS if "async def test_" in snippet]
PROGRAMS = [snippet for snippet in SNIPPETS if snippet not in TESTS]


def test_there_are_both() -> None:
    assert TESTS
    assert PROGRAMS


@pytest.mark.slow
@pytest.mark.parametrize("snippet", PROGRAMS, ids=lambda snippet: str(PROGRAMS.index(snippet)))
def test_a_program_runs(snippet: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (ended.returncode, LOG_LINE.sub("", ended.stderr)) == (0, "")


@pytest.mark.slow
def test_the_tests_pass(pytester: pytest.Pytester) -> None:
    pytester.makefile(".ini", pytest="[pytest]\ntrio_mode = true\n")
    pytester.makepyfile(**{f"test_snippet_{place}": snippet for place, snippet in enumerate(TESTS)})
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert result.parseoutcomes() == {"passed": len(TESTS)}


def test_the_page_of_the_exam_lists_every_scenario() -> None:
    page = (DOCS / "exam.md").read_text(encoding="utf-8")
    for scenario in all_scenarios():
        assert f"| {scenario.number} | {scenario.fault} | {scenario.expected} |" in page
