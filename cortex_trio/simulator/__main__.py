"""`python -m cortex_trio.simulator`: simulated providers for a program that is configured by the environment.

With a command it runs that command with CORTEX_PROVIDERS set, and ends with its exit status; without one it
prints the line to set the variable with, and serves until it is interrupted.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from functools import partial

import trio

from ..cli.running import run_command, run_until_signal
from ..failures import FailureKind
from ..gateway.settings.config import environment
from .behaviour import Behaviour
from .servers import SERVERS
from .simulator import Simulator, open_simulator

DEFAULT_PROVIDERS = ("openai", "anthropic", "ollama")
TOKENS_PER_SECOND = 20.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (None: this process's own) and return the exit status."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda _: run_until_signal(partial(_serve, arguments)), arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cortex_trio.simulator", description=__doc__)
    parser.add_argument(
        "--provider", action="append", choices=SERVERS, help="one to simulate; may be given more than once"
    )
    parser.add_argument(
        "--broken", action="append", default=[], choices=SERVERS, help="one that answers 503, always"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run with CORTEX_PROVIDERS set")
    return parser


async def _serve(arguments: argparse.Namespace) -> int:
    async with open_simulator(sockets=True) as simulator:
        for name in dict.fromkeys([*(arguments.provider or DEFAULT_PROVIDERS), *arguments.broken]):
            _add(simulator, name, broken=name in arguments.broken)
        providers = json.dumps(simulator.config())
        if not arguments.command:
            print(f"export CORTEX_PROVIDERS={shlex.quote(providers)}", flush=True)
            print("Serving on this machine until Ctrl-C.", file=sys.stderr)
            await trio.sleep_forever()
        return await _run(arguments.command, providers)


def _add(simulator: Simulator, name: str, *, broken: bool) -> None:
    if broken:
        simulator.add(name, Behaviour(error=FailureKind.OVERLOADED))
    else:
        text = f"Hello! I am a simulated {name}, and all I can do is to say so."
        simulator.add(name, Behaviour(text=text, tokens_per_second=TOKENS_PER_SECOND))


async def _run(command: list[str], providers: str) -> int:
    program = command[1:] if command[0] == "--" else command
    variables = {**environment(), "CORTEX_PROVIDERS": providers}
    try:
        finished = await trio.run_process(program, env=variables, check=False)
    except FileNotFoundError:
        print(f"python -m cortex_trio.simulator: no such program: {program[0]!r}", file=sys.stderr)
        return 127
    return finished.returncode


if __name__ == "__main__":
    sys.exit(main())
