"""`python -m cortex_trio.simulator`: simulated providers for a program that is configured by the environment.

With a command it runs that command with CORTEX_PROVIDERS set, and ends with its exit status; without one it
prints the line to set the variable with, and serves until it is interrupted.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial

import attrs
import trio

from ..cli.running import run_command, run_until_signal
from ..failures import ConfigError, InvalidRequest
from ..gateway.settings.config import environment
from .behaviour import Behaviour
from .provider import SimulatedProvider
from .servers import SERVERS
from .simulator import Simulator, open_simulator

PROGRAM = "python -m cortex_trio.simulator"
DESCRIPTION = """\
Run simulated providers for a program that is configured by the environment.
With a command, run it with CORTEX_PROVIDERS set, and end with its exit status.
Without one, print the line that sets the variable, and serve until Ctrl-C."""
DEFAULT_PROVIDERS = ("openai", "anthropic", "ollama")
TOKENS_PER_SECOND = 20.0
TOKENS_BEFORE_FAULT = 3
GOOD = Behaviour()
MOST_PORTS = 65535


@attrs.frozen(kw_only=True)
class Fault:
    """A fault that a provider can be given."""

    help: str
    behaviour: Behaviour = GOOD
    """What chats and embeddings get. Where it sends no error of its own, the text of the provider is put in."""
    health: Behaviour = GOOD
    """What health checks and requests for the list of models get."""
    accepts_keys: bool = True


def _status(status: int) -> Fault:
    behaviour = Behaviour(status=status)
    return Fault(
        help=f"every request gets HTTP {status}, health checks as well", behaviour=behaviour, health=behaviour
    )


FAULTS: Mapping[str, Fault] = {
    "429": Fault(
        help="chats and embeddings get HTTP 429 with Retry-After: 20",
        behaviour=Behaviour(status=429, retry_after=20),
    ),
    "500": _status(500),
    "503": _status(503),
    "529": _status(529),
    "cut": Fault(
        help=f"answers end after {TOKENS_BEFORE_FAULT} tokens, without their end",
        behaviour=Behaviour(cut_after=TOKENS_BEFORE_FAULT),
    ),
    "stall": Fault(
        help=f"answers stop after {TOKENS_BEFORE_FAULT} tokens, and the connection stays open",
        behaviour=Behaviour(stall_after=TOKENS_BEFORE_FAULT),
    ),
    "silent": Fault(help="chats and embeddings get no byte", behaviour=Behaviour(silent=True)),
    "wrong_key": Fault(help="every API key is rejected with HTTP 401", accepts_keys=False),
    "no_models": Fault(
        help="the list of models, which is the health check, gets HTTP 404", health=Behaviour(status=404)
    ),
}
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (None: this process's own) and return the exit status."""
    arguments = _parser().parse_args(argv)
    return run_command(lambda _: run_until_signal(partial(_serve, arguments)), arguments, program=PROGRAM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
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
    return parser


@attrs.frozen
class Plan:
    """The providers of one run by name, and what is special about each."""

    names: Sequence[str]
    faults: Mapping[str, Sequence[str]]
    keys: Mapping[str, Sequence[str]]
    models: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Plan:
        """Return what the command line asks for. Raises InvalidRequest."""
        broken = [f"{name}=503" for name in arguments.broken]
        faults = _by_provider("--fault", [*broken, *arguments.fault])
        keys, models = _by_provider("--key", arguments.key), _by_provider("--model", arguments.model)
        for fault in (fault for group in faults.values() for fault in group):
            if fault not in FAULTS:
                raise InvalidRequest(f"--fault: one of {', '.join(FAULTS)} is allowed, not {fault!r}")
        wanted = [*(arguments.provider or DEFAULT_PROVIDERS), *faults, *keys, *models]
        return cls([*dict.fromkeys(wanted)], faults, keys, models)


def _by_provider(option: str, pairs: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not value:
            raise InvalidRequest(f"{option}: PROVIDER=VALUE is needed, not {pair!r}")
        if name not in SERVERS:
            raise InvalidRequest(f"{option}: there is no provider {name!r}; there are: {', '.join(SERVERS)}")
        found.setdefault(name, []).append(value)
    return found


async def _serve(arguments: argparse.Namespace) -> int:
    plan = Plan.of(arguments)
    if not 0 <= arguments.port <= MOST_PORTS - len(plan.names):
        raise ConfigError(
            "--port", f"{arguments.port} cannot be used: a port is a number from 1 to {MOST_PORTS}"
        )
    async with open_simulator(sockets=True) as simulator:
        for place, name in enumerate(plan.names):
            _add(simulator, plan, name, arguments.port + place if arguments.port else 0)
        providers = json.dumps(simulator.config())
        if not arguments.command:
            print(f"export CORTEX_PROVIDERS={shlex.quote(providers)}", flush=True)
            for name, faults in plan.faults.items():
                for fault in faults:
                    print(f"{name}: {FAULTS[fault].help}", file=sys.stderr)
            print("Serving on this machine until Ctrl-C.", file=sys.stderr)
            await trio.sleep_forever()
        return await _run(arguments.command, providers)


def _add(simulator: Simulator, plan: Plan, name: str, port: int) -> None:
    text = f"Hello! I am a simulated {name}, and all I can do is to say so."
    try:
        provider = simulator.add(name, models=plan.models.get(name), port=port)
    except OSError as error:
        raise ConfigError("--port", f"{port} cannot be used: {error.strerror}") from None
    if name in plan.keys:
        provider.api_keys = tuple(plan.keys[name])
        provider.valid_keys = set(plan.keys[name])
    provider.behave(Behaviour(text=text, tokens_per_second=TOKENS_PER_SECOND))
    for fault in plan.faults.get(name, ()):
        _break(provider, FAULTS[fault], text)


def _break(provider: SimulatedProvider, fault: Fault, text: str) -> None:
    """Give a provider a fault. Several can be combined as far as they concern different requests."""
    if fault.behaviour != GOOD:
        provider.behave(attrs.evolve(fault.behaviour, text=text, tokens_per_second=TOKENS_PER_SECOND))
    if fault.health != GOOD:
        provider.behave_health(fault.health)
    if not fault.accepts_keys:
        provider.valid_keys = set()


async def _run(command: list[str], providers: str) -> int:
    program = command[1:] if command[0] == "--" else command
    if not program:
        raise InvalidRequest("there is no command after --")
    variables = {**environment(), "CORTEX_PROVIDERS": providers}
    try:
        finished = await trio.run_process(program, env=variables, check=False, stdin=None)
    except FileNotFoundError:
        print(f"{PROGRAM}: no such program: {program[0]!r}", file=sys.stderr)
        return 127
    except PermissionError:
        print(f"{PROGRAM}: not a program: {program[0]!r}", file=sys.stderr)
        return 126
    return finished.returncode


if __name__ == "__main__":
    sys.exit(main())
