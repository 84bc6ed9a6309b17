"""The README and the pages beside it are true: every snippet runs, every tree is that of a gateway."""

import json
import os
import re
import sys
import textwrap
from pathlib import Path

import attrs
import pytest
import trio
from log_lines import LOG_LINE

from cortex_trio import Config, open_cortex
from cortex_trio.cli.story import QUESTIONS
from cortex_trio.simulator import Behaviour, open_simulator

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    *(
        ROOT / "docs" / f"{name}.md"
        for name in ("design", "conversations", "failures", "configuration", "costs", "simulator")
    ),
]
PATIENCE_SECONDS = 60.0
TREE = {
    "openai": {"api_keys": ["sk-of-a-test-0001"]},
    "ollama": {"models": ["qwen3:4b"], "base_url": "http://127.0.0.1:9"},
}
"""The configuration whose tree the pages show."""


@attrs.frozen
class Block:
    """One fenced block of a page, with the headline it stands under."""

    page: Path
    line: int
    language: str
    headline: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    found: list[Block] = []
    headline, language, began, lines = "", None, 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if language is None and line.startswith("#"):
            headline = line.strip("# ")
        if not line.startswith("```"):
            lines.append(line)
        elif language is None:
            language, began, lines = line[3:].strip(), number, []
        else:
            found.append(Block(page, began, language, headline, "\n".join(lines)))
            language = None
    assert language is None, f"{page.name}: the block of line {began} has no end"
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
SNIPPETS = [block for block in BLOCKS if block.language == "python"]


# ------------------------------------------------------------------ snippets


def program(snippet: str) -> str:
    """A whole program as it is; anything else is the inside of a gateway opened from the environment."""
    if "trio.run(" in snippet or "def test_" in snippet:
        return snippet
    return f"""\
import trio
from cortex_trio import *

async def main():
    async with open_cortex() as cortex:
{textwrap.indent(snippet, " " * 8)}

trio.run(main)
"""


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
@pytest.mark.slow
async def test_a_snippet_runs_on_simulated_providers(snippet: Block, tmp_path: Path) -> None:
    file = tmp_path / "test_snippet.py"
    file.write_text(program(snippet.text), encoding="utf-8")
    (tmp_path / "plot.png").write_bytes(b"\x89PNG\r\n\x1a\n")  # files that snippets read
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    command = [sys.executable, str(file)]
    if "def test_" in snippet.text:
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-o",
            "trio_mode=true",
            "--rootdir",
            str(tmp_path),
            str(file),
        ]
    async with open_simulator(sockets=True) as simulator:
        for name in ("openai", "anthropic", "ollama"):
            simulator.add(name, Behaviour(text="A short and friendly answer."))
        environment = {**os.environ, "CORTEX_PROVIDERS": json.dumps(simulator.config())}
        with trio.fail_after(PATIENCE_SECONDS):
            ended = await trio.run_process(
                command,
                env=environment,
                cwd=tmp_path,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    said, logged = ended.stdout.decode(), ended.stderr.decode()
    assert (ended.returncode, LOG_LINE.sub("", logged)) == (0, ""), said
    assert said.strip()


def test_every_page_was_read() -> None:
    assert len(SNIPPETS) >= 10
    assert {block.page.name for block in BLOCKS} == {page.name for page in PAGES}


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "json"], ids=str)
def test_a_configuration_in_json_is_accepted(block: Block) -> None:
    mapping = json.loads(block.text.replace("…", "x"))  # no API key
    assert list(Config.from_mapping(mapping).workers) == [name for name in mapping if name != "$settings"]


# ------------------------------------------------------------------ commands


@pytest.mark.parametrize("headline", ["Try it", "Test it"])
def test_there_is_one_way_to_try_it_and_one_to_test_it(headline: str) -> None:
    """`.ci/run` runs these blocks as they stand."""
    (block,) = [b for b in BLOCKS if b.page == README and b.headline == headline and b.language == "sh"]
    first, *_, last = block.text.splitlines()
    assert first == "python3 -m venv .venv"
    assert last in (".venv/bin/cortex-trio demo", "./check.sh")


def test_no_other_commands_look_like_these() -> None:
    assert [b.headline for b in BLOCKS if b.page == README and b.language == "sh"] == ["Try it", "Test it"]


# ------------------------------------------------------------------ pictures in text


def tree_of(text: str) -> list[tuple[str, str]]:
    """The branches with their names, and the kind of each actor; what follows is comment."""
    rows = [re.fullmatch(r"([│├└─ ]*\w+)\s+(\w+)\b.*", line) for line in text.splitlines()]
    return [(row[1], row[2]) for row in rows if row]


@pytest.mark.parametrize("page", [README, ROOT / "docs" / "design.md"], ids=lambda page: page.name)
async def test_the_tree_of_the_page_is_the_tree(page: Path) -> None:
    (drawn,) = [
        b.text for b in BLOCKS if b.page == page and b.headline == "The tree" and b.language == "text"
    ]
    async with open_cortex(TREE) as cortex:
        actual = tree_of(cortex.tree())
    shown = tree_of(drawn)
    assert [name for name, _ in shown] == [name for name, _ in actual]
    assert shown[1:] == actual[1:]
    assert shown[0][1] in ("Supervisor", "one_for_one")  # of the root the strategy is the news


@pytest.mark.slow
async def test_the_demonstration_of_the_readme_is_what_the_command_prints() -> None:
    (shown,) = [
        b.text for b in BLOCKS if b.page == README and b.headline == "Try it" and b.language == "text"
    ]
    with trio.fail_after(PATIENCE_SECONDS):
        ended = await trio.run_process(
            [sys.executable, "-m", "cortex_trio", "demo"], capture_stdout=True, capture_stderr=True
        )
    assert ended.stderr == b""
    printed = without_times(ended.stdout.decode())
    assert [line for line in without_times(shown) if line not in printed] == []
    assert len(without_times(shown)) > 40


def without_times(text: str) -> list[str]:
    """Return the lines without what depends on time: seconds, and where a line interrupts a streamed answer."""
    answers = [answer for _, answer in QUESTIONS]
    lines = (re.sub(r"\d+\.\d\d s", "# s", line.strip()) for line in text.splitlines())
    return [line for line in lines if line not in ("", "…") and not any(line in answer for answer in answers)]
