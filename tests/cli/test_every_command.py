"""Every command in a pipe, in a terminal, with NO_COLOR, on a dumb terminal and with LANG=C.

The commands are those of the parser. They run one after the other in one process for each environment, because most
of the time of a command is its start.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence

import attrs
import pytest
from cli_process import environment, run, run_in_terminal, simulated

from cortex_trio.cli.arguments import parser
from cortex_trio.simulator import Behaviour

pytestmark = pytest.mark.slow

QUICK: Mapping[str, Sequence[str]] = {
    "chat": ("chat", "Why is the sky blue?"),
    "embed": ("embed", "a text"),
    "models": ("models",),
    "status": ("status", "--check"),
    "explain": ("explain",),
    "config": ("config", "check"),
    "keys": ("keys",),
    "completion": ("completion", "bash"),
    "observe": ("observe", "/no/such/socket", "--once"),
}
LONG: Mapping[str, Sequence[str]] = {
    "demo": ("demo",),
    "exam": ("exam", "--only", "S01"),
    "simulate": ("simulate", "--seeds", "0", "--hours", "0.02", "--processes", "1"),
}
"""Commands that take seconds: they run in two of the environments."""
MANY_COMMANDS_SECONDS = 120.0
STATUSES = {"observe": 1}
"""0 for the others."""
DATA = {"completion", "embed"}
"""Their lines are for other programs, and as long as they are."""

MARK = "=== end of"
DRIVER = """
import json, sys
from cortex_trio.__main__ import main
for name, arguments in json.loads(sys.argv[1]):
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = exit_.code or 0
    print(f"\\n{mark} {name}: {status}", flush=True)
""".replace("{mark}", MARK)

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@attrs.frozen
class Environment:
    """Where commands run, and what they may print there."""

    terminal: bool
    variables: Mapping[str, str]
    colours: bool = False
    only_ascii: bool = False
    with_long: bool = False


ENVIRONMENTS = {
    "a pipe": Environment(False, {}, with_long=True),
    "a terminal": Environment(True, {}, colours=True),
    "NO_COLOR": Environment(True, {"NO_COLOR": "1"}),
    "a dumb terminal": Environment(True, {"TERM": "dumb"}),
    "LANG=C": Environment(True, {"LANG": "C"}, colours=True, only_ascii=True, with_long=True),
}


def command_names() -> Sequence[str]:
    """The commands of `cortex-trio --help`."""
    actions = parser()._actions
    (group,) = (action for action in actions if isinstance(action, argparse._SubParsersAction))
    return [*group.choices]


def invocations(where: Environment) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield a command line for each command; for one that this file does not know, its help."""
    for name in command_names():
        if name not in LONG:
            yield name, QUICK.get(name, (name, "--help"))
        elif where.with_long:
            yield name, LONG[name]


@pytest.mark.parametrize("name", ENVIRONMENTS)
async def test_every_command_prints_what_its_output_can_show(name: str) -> None:
    where = ENVIRONMENTS[name]
    wanted = [*invocations(where)]
    async with simulated(
        openai=Behaviour(text="Because of “scattering”."), anthropic=Behaviour()
    ) as simulator:
        env = environment(simulator.config(), **where.variables)
        command = [sys.executable, "-c", DRIVER, json.dumps(wanted)]
        if where.terminal:
            ended = await run_in_terminal(*command, env=env)
        else:
            ended = await run(*command, env=env, patience=MANY_COMMANDS_SECONDS)
    printed = ended.out + ended.err
    assert ended.status == 0, printed
    assert "Traceback" not in printed
    pieces = re.split(rf"^{MARK} (\w+): (\S+)$", ended.out, flags=re.MULTILINE)
    statuses = dict(zip(pieces[1::3], pieces[2::3], strict=True))
    assert statuses == {each: str(STATUSES.get(each, 0)) for each, _ in wanted}
    if where.terminal:
        assert bool(ESCAPE.search(printed)) == where.colours
    else:
        assert "\x1b" not in printed
    if where.only_ascii:
        assert printed.isascii()
    if where.terminal:
        texts = dict(zip(pieces[1::3], pieces[0::3], strict=False))
        lines = [
            (each, line)
            for each, text in texts.items()
            if each not in DATA
            for line in ESCAPE.sub("", text).splitlines()
        ]
        assert [line for line in lines if len(line[1]) > 80] == []
