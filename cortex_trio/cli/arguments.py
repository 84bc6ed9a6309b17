"""The arguments of `cortex-trio`. Knows what can be typed; the commands themselves are loaded by `commands`."""

from __future__ import annotations

import argparse

from .. import __version__
from .commands import StrategyNames

EPILOG = """\
chat and status find their providers in the environment: CORTEX_PROVIDERS (JSON), or OPENAI_API_KEY,
ANTHROPIC_API_KEY, GEMINI_API_KEY, GROQ_API_KEY, COHERE_API_KEY, XAI_API_KEY, and an Ollama on this machine.

exit status: 0 success, 1 failure (status: no worker is available), 2 wrong usage or configuration, 130 Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser; `command` of the namespace it returns is a `CommandName`."""
    root = argparse.ArgumentParser(
        prog="cortex-trio",
        description="A supervised gateway to many LLM providers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"cortex-trio {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(
        commands.add_parser("demo", help="show failover with simulated providers: no API keys, no network")
    )
    _add_chat(commands.add_parser("chat", help="stream one answer from your providers"))
    _add_status(commands.add_parser("status", help="check your providers with requests that cost nothing"))
    _add_exam(
        commands.add_parser("exam", help="run the failover exam, with this gateway or with another one")
    )
    _add_simulate(
        commands.add_parser("simulate", help="run simulated days with random faults and check the invariants")
    )
    _add_observe(commands.add_parser("observe", help="watch a running gateway, or a demo, on a screen"))
    return root


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.description = (
        "Start simulated providers on this machine, break them on purpose, and show what the gateway does."
    )
    demo.add_argument(
        "--seed", type=int, default=0, metavar="N", help="choose other questions and faults (default: 0)"
    )
    _add_no_color(demo)


def _add_chat(chat: argparse.ArgumentParser) -> None:
    chat.description = (
        "Stream one answer to standard output; worker, model, tokens and attempts go to standard error."
    )
    chat.add_argument("prompt", help="the message of the user; - reads it from standard input")
    chat.add_argument("--model", metavar="NAME", help="use a worker that has this model")
    chat.add_argument("--provider", metavar="NAME", help="use the workers of this provider only")
    chat.add_argument("--worker", metavar="NAME", help="use this worker only")
    chat.add_argument(
        "--strategy",
        metavar="NAME",
        choices=StrategyNames(),
        help="which worker to use first: %(choices)s (default: priority)",
    )
    chat.add_argument("--system", metavar="TEXT", help="the system message")
    _add_no_color(chat)


def _add_status(status: argparse.ArgumentParser) -> None:
    status.description = (
        "Check every worker now, with requests that cost nothing, and show the status of each."
    )
    status.add_argument("--json", action="store_true", help="print the health status as JSON")
    _add_no_color(status)


def _add_exam(exam: argparse.ArgumentParser) -> None:
    exam.description = (
        "Run the 34 scenarios of the failover exam with every provider, in virtual time, and print the scorecard. "
        "With --base-url, run S01 to S16 and S31 to S34 on another OpenAI-compatible gateway, in real time."
    )
    exam.add_argument("--only", metavar="S01,S08", help="run only these scenarios")
    exam.add_argument("--base-url", metavar="URL", help="the address of the other gateway")
    exam.add_argument(
        "--model", default="primary-model", help="the model to request (default: primary-model)"
    )
    exam.add_argument(
        "--api-key", default="sk-exam", metavar="KEY", help="the API key to send (default: sk-exam)"
    )
    exam.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="the time-out of the other gateway (default: 30)",
    )
    exam.add_argument(
        "--ports",
        type=int,
        nargs=2,
        metavar=("PRIMARY", "FALLBACK"),
        help="where the simulated providers listen (default: 9101 9102)",
    )
    _add_no_color(exam)


def _add_simulate(simulate: argparse.ArgumentParser) -> None:
    simulate.description = (
        "Run a gateway for simulated hours in virtual time, with random providers, load and faults, and with actors "
        "killed at random moments. The same seed gives the same run, byte for byte."
    )
    simulate.add_argument(
        "--seeds", default="0..49", metavar="A..B", help="the seeds to run, one run for each (default: 0..49)"
    )
    simulate.add_argument(
        "--hours", type=float, default=24.0, help="simulated hours of each run (default: 24)"
    )
    simulate.add_argument(
        "--processes", type=int, metavar="N", help="processes to use (default: one for each processor)"
    )
    simulate.add_argument(
        "--timeline", metavar="FILE", help="draw one run as an SVG: the first that failed, or else the first"
    )
    simulate.add_argument("--trace", metavar="FILE", help="write all events of that run to this file")
    _add_no_color(simulate)


def _add_observe(observe: argparse.ArgumentParser) -> None:
    observe.description = (
        "Watch the supervision tree, the workers, the API keys and the waiting calls of a program that was opened "
        "with open_cortex(observe=...). Without a socket: of a demo load on simulated providers. Ctrl-C ends it."
    )
    observe.add_argument("socket", nargs="?", metavar="SOCKET", help="the socket of the program")
    observe.add_argument("--once", action="store_true", help="print one frame and end")
    observe.add_argument("--svg", metavar="FILE", help="write one frame as an SVG to FILE and end")
    _add_no_color(observe)


def _add_no_color(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--no-color",
        action="store_true",
        help="print without colours (as with NO_COLOR, or without a terminal)",
    )
