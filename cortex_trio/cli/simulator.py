"""What `python -m cortex_trio.simulator` runs: simulated providers for a program configured by the environment.

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

from ..failures import ConfigError, InvalidRequest
from ..gateway.settings.config import environment
from ..simulator.plan import FAULTS, Plan
from ..simulator.servers import SERVERS
from ..simulator.simulator import open_simulator
from .running import run_command, run_until_signal

DESCRIPTION = """\
Run simulated providers for a program that is configured by the environment.
With a command, run it with CORTEX_PROVIDERS set, and end with its exit status.
Without one, print the line that sets the variable, and serve until Ctrl-C."""
MOST_PORTS = 65535


EPILOG = """\
examples:
  python -m cortex_trio.simulator python your_program.py
  python -m cortex_trio.simulator --broken openai cortex-trio chat Hi
  python -m cortex_trio.simulator --fault openai=429 --fault anthropic=cut \\
      cortex-trio chat Hi
  python -m cortex_trio.simulator --port 9000 --provider openai \\
      --key openai=sk-mine-0001 --model openai=gpt-5-mini

faults:
""" + "".join(f"  {name:<10} {fault.help}\n" for name, fault in FAULTS.items())


def run_simulator(argv: Sequence[str] | None, program: str) -> int:
    """Run the command line `argv` (None: this process's own) under the name `program`; return the exit status."""
    arguments = _parser(program).parse_args(argv)
    return run_command(lambda _: run_until_signal(partial(_serve, arguments)), arguments, program=program)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program,
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = partial(parser.add_argument, action="append", default=[])
    names = ", ".join(SERVERS)
    add("--provider", choices=SERVERS, metavar="PROVIDER", help=f"one to simulate: {names}; repeatable")
    add("--broken", choices=SERVERS, metavar="PROVIDER", help="short for --fault PROVIDER=503")
    add("--fault", metavar="PROVIDER=FAULT", help="give a provider a fault, see below; repeatable")
    add("--key", metavar="PROVIDER=KEY", help="an API key; the provider accepts no others; repeatable")
    add("--model", metavar="PROVIDER=MODEL", help="a model that the provider has; repeatable")
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="the port of the first provider; the next has N+1"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run with CORTEX_PROVIDERS set")
    parser.set_defaults(program=program)  # for messages
    return parser


async def _serve(arguments: argparse.Namespace) -> int:
    plan = Plan.of(arguments)
    if not 0 <= arguments.port <= MOST_PORTS - len(plan.names):
        raise ConfigError(
            "--port", f"{arguments.port} cannot be used: a port is a number from 1 to {MOST_PORTS}"
        )
    async with open_simulator(sockets=True) as simulator:
        for place, name in enumerate(plan.names):
            plan.add(simulator, name, arguments.port + place if arguments.port else 0)
        providers = json.dumps(simulator.config())
        if not arguments.command:
            print(f"export CORTEX_PROVIDERS={shlex.quote(providers)}", flush=True)
            for name, faults in plan.faults.items():
                for fault in faults:
                    print(f"{name}: {FAULTS[fault].help}", file=sys.stderr)
            print("Serving on this machine until Ctrl-C.", file=sys.stderr)
            await trio.sleep_forever()
        return await _run(arguments, providers)


async def _run(arguments: argparse.Namespace, providers: str) -> int:
    command: list[str] = arguments.command[1:] if arguments.command[0] == "--" else arguments.command
    if not command:
        raise InvalidRequest("there is no command after --")
    variables = {**environment(), "CORTEX_PROVIDERS": providers}
    try:
        finished = await trio.run_process(command, env=variables, check=False, stdin=None)
    except FileNotFoundError:
        print(f"{arguments.program}: no such program: {command[0]!r}", file=sys.stderr)
        return 127
    except PermissionError:
        print(f"{arguments.program}: not a program: {command[0]!r}", file=sys.stderr)
        return 126
    return finished.returncode
