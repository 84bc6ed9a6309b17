"""docs/providers.md says what the code does, and its programs run."""

import ast
import re
import runpy
import textwrap
from pathlib import Path
from typing import Any

import attrs
import pytest

from cortex_trio import Config, Provider
from cortex_trio.providers import PROVIDERS
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator
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


def requested() -> dict[str, list[dict[str, Any]]]:
    """The values of `extra_body` in the table of log probabilities and seeds: of both columns, by API."""
    section = PAGE.read_text(encoding="utf-8").partition("## Log probabilities and seeds")[2]
    rows = [
        row.strip("| ").split(" | ") for row in re.findall(r"^\|.*\|$", section.partition("\n## ")[0], re.M)
    ]
    return {
        api: [ast.literal_eval(found[1]) for cell in cells if (found := re.match(r"`(.*)`", cell))]
        for api, *cells in rows[2:]
    }


SPEAK = {
    "chat completions": ("openai", "xai", "openai_compatible"),
    "Responses": ("openai_responses", "xai_responses"),
    "Gemini": ("gemini",),
    "Cohere": ("cohere",),
    "Ollama": ("ollama",),
    "Anthropic": (),
}
"""Providers of each API in the table that send log probabilities."""


@pytest.mark.parametrize(("api", "name"), [(api, name) for api, names in SPEAK.items() for name in names])
async def test_what_the_page_requests_brings_log_probabilities(
    api: str, name: str, autojump_clock: object
) -> None:
    assert requested().keys() == SPEAK.keys()
    fields, *seeds = requested()[api]
    async with open_simulator() as sim:
        provider = sim.add(name, Behaviour(text="Yes, it is."))
        async with open_gateway(sim) as cortex:
            for extra_body in (fields, *seeds):
                reply = await cortex.complete("Is it raining?", temperature=0.5, extra_body=extra_body)
                assert bool(reply.logprobs) == (extra_body is fields)
                if reply.logprobs:
                    assert {len(token.top) for token in reply.logprobs} == {0 if name == "cohere" else 3}
    assert [
        ("'seed': 7" in str(request.body), "0.5" in str(request.body)) for request in provider.requests
    ] == [
        (False, True),
        *[(True, True) for _ in seeds],
    ]


async def test_the_program_of_log_probabilities_runs(
    capsys: pytest.CaptureFixture[str], autojump_clock: object
) -> None:
    made: dict[str, Any] = {}
    exec(f"async def run(cortex):\n{textwrap.indent(programs()[0], '    ')}", made)
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="Yes."))
        async with open_gateway(sim) as cortex:
            await made["run"](cortex)
    assert capsys.readouterr().out.startswith("Yes. -0.")


def test_a_provider_of_ones_own_takes_no_more_than_twenty_lines() -> None:
    program = programs()[1]
    assert len(program.splitlines()) <= 20
    made: dict[str, object] = {}
    exec(compile(program, str(PAGE), "exec"), made)
    assert isinstance(made["config"], Config)
    assert isinstance(made["in_house"], Provider)


@pytest.mark.slow
def test_the_check_of_a_dialect_takes_what_the_page_shows() -> None:
    """The page's own test needs files of its reader; its call is read here and made with bodies of ours."""
    calls = [node for node in ast.walk(ast.parse(programs()[2])) if isinstance(node, ast.Call)]
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
