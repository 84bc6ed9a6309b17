"""The words of the project are those of its glossary: what a reader of trio or httpcore knows already."""

import re
from collections.abc import Iterator
from pathlib import Path

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

TEST_NAME = re.compile(r"^ *(?:async )?def (test_\w+)", re.MULTILINE)
QUOTED = re.compile(r'r"(?:[^"\\]|\\.)*"')
"""What providers write: the patterns of failures/phrases.py."""


WORDS = {word: reason for words, reason in REASONS.items() for word in words.split()}
FORBIDDEN = re.compile(rf"\b({'|'.join(WORDS)})\b", re.IGNORECASE)


def forbidden_in(text: str) -> Iterator[str]:
    """Return each forbidden word of a text with its line and the reason."""
    for found in FORBIDDEN.finditer(text):
        line_number = text.count("\n", 0, found.start()) + 1
        yield f"line {line_number}: {found[0]!r}: {WORDS[found[0].lower()]}"


def test_files_use_plain_words() -> None:
    found = {
        str(path.relative_to(ROOT)): words for path in FILES if (words := list(forbidden_in(words_of(path))))
    }
    assert found == {}


def words_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return QUOTED.sub('""', text) if path.name == "phrases.py" else text


def test_the_names_of_tests_use_plain_words() -> None:
    found = [
        (path.name, name, word)
        for path in TESTS
        for name in TEST_NAME.findall(path.read_text(encoding="utf-8"))
        for word in forbidden_in(name.replace("_", " "))
    ]
    assert found == []


def test_the_words_are_found() -> None:
    assert len(list(forbidden_in("Nobody is told.\nWho is resting?"))) == 3
    assert list(forbidden_in("the rest of a body, alive, unlawful")) == []
