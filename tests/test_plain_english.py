"""The words of the project are those of its glossary: what a reader of trio or httpcore knows already."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = ("cortex_trio", "examples", "benchmarks", "docs/tools")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
FILES = [*PAGES, *sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

REASONS = {
    "whoever whom whomever nobody somebody someone everybody everyone anybody anyone": (
        "names no part of the program: say worker, caller, observer, test"
    ),
    "tell tells told telling": "programs do not talk: say pass, receive, report, print, return, show",
    "people": "say readers, users or callers",
    "slip slips": "say permit and lease",
    "resting": "say cooling down",
    "law laws": "say invariant",
    "border": "say where values are checked or converted",
    "life lives lived": "say run, connection, duration, or what exists",
    "house room rooms": "say project, package, capacity or space",
}
"""Words that the project does not use, and what it says instead."""

QUOTED = re.compile(r'r"(?:[^"\\]|\\.)*"')
"""What providers write: the patterns of failures/phrases.py."""


def forbidden_in(text: str) -> Iterator[str]:
    """Return each forbidden word of a text with its line and the reason."""
    for line_number, line in enumerate(text.splitlines(), 1):
        for words, reason in REASONS.items():
            for found in re.finditer(rf"\b({'|'.join(words.split())})\b", line, re.IGNORECASE):
                yield f"line {line_number}: {found[0]!r}: {reason}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_uses_plain_words(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.name == "phrases.py":
        text = QUOTED.sub('""', text)
    assert list(forbidden_in(text)) == []


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_names_of_tests_use_plain_words(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert [(name, found) for name in names for found in forbidden_in(name.replace("_", " "))] == []


def test_the_words_are_found() -> None:
    assert len(list(forbidden_in("Nobody is told.\nWho is resting?"))) == 3
    assert list(forbidden_in("the rest of a body, alive, unlawful")) == []
