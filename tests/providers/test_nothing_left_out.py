"""Every recorded and constructed answer is expected by some test, or left out here, by name and for a reason."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
NAMES_WHAT_IT_LEAVES_OUT = ("test_nothing_left_out.py", "test_recorded_requests.py")

OUT_OF_SCOPE = {
    "anthropic/count_tokens": "the answer to a request the gateway never makes",
    "ollama/root_liveness": "plain text that is looked at for nothing but its status",
    "ollama/version": "health is asked of /api/tags, which also says which models are there",
}


def answers(shared: Path) -> Iterator[str]:
    """`provider/name` of every answer there is."""
    for folder in ("recordings", "constructed"):
        for meta in (shared / "wire" / folder).glob("*/*.meta.json"):
            yield f"{meta.parent.name}/{meta.name.removesuffix('.meta.json')}"


def words_of_tests() -> set[str]:
    """The strings in the tests, as file names without folder and suffix."""
    found: set[str] = set()
    for file in TESTS.rglob("*.py"):
        if file.name in NAMES_WHAT_IT_LEAVES_OUT:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value.rpartition("/")[2].partition(".")[0])
    return found


@pytest.mark.slow
def test_every_recorded_answer_is_expected_by_a_test(shared_dir: Path) -> None:
    named = words_of_tests()
    missing = sorted(
        answer
        for answer in answers(shared_dir)
        if answer not in OUT_OF_SCOPE and answer.rpartition("/")[2] not in named
    )
    assert missing == []


def test_what_is_out_of_scope_exists(shared_dir: Path) -> None:
    assert set(OUT_OF_SCOPE) <= set(answers(shared_dir))
