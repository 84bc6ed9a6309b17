"""What can be typed after `cortex-trio`. Says what there is and leaves the doing to the commands."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from .. import __version__
from ..gateway.routing.strategies import STRATEGIES
from .chat import chat
from .demo import demo
from .exam import exam
from .running import Command
from .simulate import simulate
from .status import status

COMMANDS: Mapping[str, Command] = {
    "demo": demo,
    "chat": chat,
    "status": status,
    "exam": exam,
    "simulate": simulate,
}

EPILOG = """\
chat and status find their providers in the environment: CORTEX_PROVIDERS (JSON), or OPENAI_API_KEY,
ANTHROPIC_API_KEY, GEMINI_API_KEY, GROQ_API_KEY, COHERE_API_KEY, XAI_API_KEY, and an Ollama on this machine.

exit status: 0 done, 1 failed (or, for status, no worker is available), 2 wrong usage or configuration, 130 Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser; `command` of what it returns is a key of COMMANDS."""
    root = argparse.ArgumentParser(
        prog="cortex-trio",
        description="A supervised gateway to many LLM providers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"cortex-trio {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands.add_parser("demo", help="see it at work: no keys, no network, some seconds"))
    _add_chat(commands.add_parser("chat", help="ask the providers you have"))
    _add_status(commands.add_parser("status", help="check every provider you have, free of charge"))
    _add_exam(commands.add_parser("exam", help="sit the failover exam, or have another gateway sit it"))
    _add_simulate(
        commands.add_parser("simulate", help="live whole days in random worlds, and look for broken promises")
    )
    return root


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.description = (
        "Start simulated providers on this machine, break them on purpose, and show what the gateway does."
    )
    demo.add_argument("--seed", type=int, default=0, metavar="N", help="another run of bad luck (default: 0)")
    _add_no_color(demo)


def _add_chat(chat: argparse.ArgumentParser) -> None:
    chat.description = "Stream one answer to standard output; the facts about it go to standard error."
    chat.add_argument("prompt", help="what to say; - reads it from standard input")
    chat.add_argument("--model", metavar="NAME", help="ask a worker that has this model")
    chat.add_argument("--provider", metavar="NAME", help="ask this provider only")
    chat.add_argument("--worker", metavar="NAME", help="ask this worker only")
    chat.add_argument("--strategy", choices=STRATEGIES, help="whom to ask first (default: priority)")
    chat.add_argument("--system", metavar="TEXT", help="the system message")
    _add_no_color(chat)


def _add_status(status: argparse.ArgumentParser) -> None:
    status.description = "Check every worker now, with requests that cost nothing, and show how they are."
    status.add_argument("--json", action="store_true", help="print the whole health status as JSON")
    _add_no_color(status)


def _add_exam(exam: argparse.ArgumentParser) -> None:
    exam.description = (
        "Play the 34 scenarios of the failover exam with every provider, in virtual time, and print the scorecard. "
        "With --base-url, play S01 to S16 and S31 to S34 on another OpenAI-compatible gateway, in real time."
    )
    exam.add_argument("--only", metavar="S01,S08", help="some of the scenarios")
    exam.add_argument("--base-url", metavar="URL", help="the gateway to examine, as its clients reach it")
    exam.add_argument("--model", default="primary-model", help="what to ask it for (default: primary-model)")
    exam.add_argument(
        "--api-key", default="sk-exam", metavar="KEY", help="what to show it (default: sk-exam)"
    )
    exam.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="the time-out it has (default: 30)"
    )
    exam.add_argument(
        "--ports",
        type=int,
        nargs=2,
        metavar=("PRIMARY", "FALLBACK"),
        help="of its upstreams (default: 9101 9102)",
    )
    _add_no_color(exam)


def _add_simulate(simulate: argparse.ArgumentParser) -> None:
    simulate.description = (
        "Live many lives of a gateway in virtual time: random providers, loads and faults, actors killed at "
        "random moments. The same seed is the same life, byte for byte."
    )
    simulate.add_argument("--seeds", default="0..49", metavar="A..B", help="which lives (default: 0..49)")
    simulate.add_argument("--hours", type=float, default=24.0, help="how long each of them is (default: 24)")
    simulate.add_argument("--processes", type=int, metavar="N", help="default: one for each processor")
    simulate.add_argument(
        "--timeline", metavar="FILE", help="draw one life, the first that failed, as an SVG"
    )
    simulate.add_argument("--trace", metavar="FILE", help="write down all that happened in it")
    _add_no_color(simulate)


def _add_no_color(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--no-color", action="store_true", help="no colours (also: NO_COLOR, or no terminal)"
    )
