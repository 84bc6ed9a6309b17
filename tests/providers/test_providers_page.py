"""docs/providers.md says what the code does, and its programs run."""

import ast
import runpy
from pathlib import Path

import attrs
import pytest

from cortex_trio import Config, Provider
from cortex_trio.providers import PROVIDERS
from cortex_trio.wire.conformance import check_dialect

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "providers.md"


def programs() -> list[str]:
    """The Python code on the page."""
    blocks = PAGE.read_text(encoding="utf-8").split("```python\n")[1:]
    return [block.partition("```")[0] for block in blocks]


def test_its_tables_are_those_the_code_makes() -> None:
    """If not: run `python docs/tools/providers_table.py` and look at what has changed."""
    tool = runpy.run_path(str(ROOT / "docs" / "tools" / "providers_table.py"))
    assert tool["made"]() == {PAGE: PAGE.read_text(encoding="utf-8")}


def test_every_provider_has_a_column_and_a_line() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name in PROVIDERS:
        assert text.count(f"| `{name}` |") == 2


def test_a_provider_of_ones_own_takes_no_more_than_twenty_lines() -> None:
    program = programs()[0]
    assert len(program.splitlines()) <= 20
    made: dict[str, object] = {}
    exec(compile(program, str(PAGE), "exec"), made)
    assert isinstance(made["config"], Config)
    assert isinstance(made["in_house"], Provider)


def test_the_check_of_a_dialect_takes_what_the_page_shows() -> None:
    """The page's own test needs files of its reader; its call is read here and made with bodies of ours."""
    calls = [node for node in ast.walk(ast.parse(programs()[1])) if isinstance(node, ast.Call)]
    [call] = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "check_dialect"]
    named = {keyword.arg for keyword in call.keywords}
    end = b"data: [DONE]\n\n"
    chunk = b'data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n'
    whole = b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'
    bodies = {"streamed_bodies": [chunk + end], "whole_bodies": [whole]}
    assert named == bodies.keys()
    check_dialect(PROVIDERS["openai"].dialect, **bodies)


@pytest.mark.parametrize("name", sorted(PROVIDERS))
def test_a_provider_is_data_and_can_be_changed_as_such(name: str) -> None:
    kind = PROVIDERS[name]
    assert kind.name == name
    assert attrs.evolve(kind, priority=1) == attrs.evolve(kind, priority=1) != attrs.evolve(kind, priority=2)
