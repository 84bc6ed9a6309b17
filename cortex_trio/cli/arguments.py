"""The arguments of `cortex-trio`. Knows what can be typed; the commands themselves are loaded by `commands`."""

from __future__ import annotations

import argparse

from .. import __version__
from .argument_types import byte_count as _bytes
from .argument_types import count as _count
from .argument_types import number as _number
from .argument_types import port as _port
from .argument_types import positive as _positive
from .commands import StrategyNames

EPILOG = """\
examples:
  cortex-trio demo                               see failover, without API keys
  cortex-trio config check                       what is configured, and where
  cortex-trio chat "Why is the sky blue?"
  git diff | cortex-trio chat "Write a commit message"

Providers are found in the environment: CORTEX_PROVIDERS (JSON), or
OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, GROQ_API_KEY,
COHERE_API_KEY, XAI_API_KEY, and an Ollama on this machine.

exit status:
  0    success
  1    failure; for status: no worker is available
  2    wrong usage or configuration
  3    the answer is incomplete: cut at its token limit, filtered or refused
  130  Ctrl-C
"""

CHAT_EXAMPLES = """\
examples:
  cortex-trio chat "Why is the sky blue?"
  cat notes.txt | cortex-trio chat "Summarise this"
  cortex-trio chat -m gpt-5-mini -s "Answer in one word" "Capital of Peru?"
  cortex-trio chat -a photo.jpg "What is in this picture?"
  cortex-trio chat -a report.pdf -a notes.txt "Do they agree?"
  cortex-trio chat --schema person.json --json "Invent a person"
  cortex-trio chat                       a conversation; /help lists commands
"""

INTERRUPT_CHOICES = ("raise", "restart", "continue", "buffer")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Breaks descriptions at words, and keeps the lines of examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return super()._fill_text(text, width, indent)
        return argparse.HelpFormatter._fill_text(self, text, width, indent)


class _Commands:
    """Adds commands, each with its help, its description and its examples."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(self, name: str, help: str, description: str, examples: str = "") -> argparse.ArgumentParser:
        command = self._commands.add_parser(
            name, help=help, description=description, epilog=examples, formatter_class=_Help
        )
        command.add_argument(
            "--no-color",
            action="store_true",
            help="print without colours (as with NO_COLOR, or without a terminal)",
        )
        return command


def parser() -> argparse.ArgumentParser:
    """Return the parser; `command` of the namespace it returns is a `CommandName`."""
    root = argparse.ArgumentParser(
        prog="cortex-trio",
        description="A supervised gateway to many LLM providers.",
        epilog=EPILOG,
        formatter_class=_Help,
    )
    root.add_argument("--version", action="version", version=f"cortex-trio {__version__}")
    commands = _Commands(root)
    _add_chat(commands)
    _add_embed(commands)
    _add_looking(commands)
    _add_observe(commands)
    _add_serve(commands)
    _add_configuration(commands)
    _add_demo(commands)
    _add_exam(commands)
    _add_simulate(commands)
    _add_completion(commands)
    return root


# ------------------------------------------------------------------ calls


def _add_chat(commands: _Commands) -> None:
    chat = commands.add(
        "chat",
        "get one answer, or have a conversation",
        "Stream one answer to standard output; worker, model, tokens and attempts go to standard error. "
        "Standard input, if it is not a terminal, comes in front of PROMPT. Without either, a conversation begins.",
        CHAT_EXAMPLES,
    )
    chat.add_argument(
        "prompt", nargs="?", metavar="PROMPT", help="the message of the user; - is standard input"
    )
    _add_choice(chat)
    chat.add_argument("-s", "--system", metavar="TEXT", help="the system message")
    chat.add_argument(
        "-a",
        "--attach",
        metavar="FILE",
        action="append",
        default=[],
        help="an image, a text, a PDF or another file, as a path or a URL; may be given more than once",
    )
    chat.add_argument("--schema", metavar="FILE", help="the JSON Schema of the answer: a file, or JSON text")
    chat.add_argument("--max-tokens", type=_count, metavar="N", help="the most tokens of the answer")
    chat.add_argument("--temperature", type=_number, metavar="X", help="the sampling temperature")
    chat.add_argument("--max-wait", type=_number, metavar="SECONDS", help="how long to wait for a worker")
    chat.add_argument(
        "--on-interrupt",
        choices=INTERRUPT_CHOICES,
        help="what follows when the answer breaks off: an error (raise), a whole new answer (restart), its end from "
        "another worker (continue); buffer prints nothing before the answer is whole (default: raise)",
    )
    chat.add_argument(
        "--json", action="store_true", help="print the answer with its facts as one JSON object"
    )
    chat.add_argument("-q", "--quiet", action="store_true", help="print no facts on standard error")


def _add_choice(command: argparse.ArgumentParser) -> None:
    """Add the options that choose a worker."""
    command.add_argument(
        "-m", "--model", metavar="NAME", help="use this model, also one that is not configured"
    )
    command.add_argument("-p", "--provider", metavar="NAME", help="use the workers of this provider only")
    command.add_argument("-w", "--worker", metavar="NAME", help="use this worker only")
    command.add_argument(
        "--strategy",
        metavar="NAME",
        choices=StrategyNames(),
        help="which worker to use first: %(choices)s (default: priority)",
    )


def _add_embed(commands: _Commands) -> None:
    embed = commands.add(
        "embed",
        "turn texts into vectors",
        "Print one vector for each text, a JSON list on a line of its own. Without TEXT, standard input is one text.",
        'examples:\n  cortex-trio embed "a text" "another text"\n'
        "  cortex-trio embed --lines < texts.txt > vectors.jsonl\n",
    )
    embed.add_argument("texts", nargs="*", metavar="TEXT", help="a text; - is standard input")
    embed.add_argument("-m", "--model", metavar="NAME", help="the model (default: that of the first worker)")
    embed.add_argument("-p", "--provider", metavar="NAME", help="use the workers of this provider only")
    embed.add_argument("--dimensions", type=_count, metavar="N", help="numbers in each vector")
    embed.add_argument("--lines", action="store_true", help="each line of standard input is a text")


# ------------------------------------------------------------------ looking


def _add_looking(commands: _Commands) -> None:
    models = commands.add(
        "models",
        "list the models of your providers",
        "Print the models that the provider of each worker lists now, with requests that cost nothing. "
        "A star marks the models that are configured.",
        "examples:\n  cortex-trio models\n  cortex-trio models -w openai --json\n",
    )
    models.add_argument("-w", "--worker", metavar="NAME", help="only those of this worker")
    models.add_argument("--json", action="store_true", help="print a JSON object: models by worker")
    status = commands.add(
        "status",
        "check your providers with requests that cost nothing",
        "Show the status of every worker: of a running program that was opened with open_cortex(observe=...), if there "
        "is one; otherwise check the workers of the environment now, with requests that cost nothing.",
        "examples:\n  cortex-trio status\n  cortex-trio status --socket /run/cortex.sock\n"
        "  cortex-trio status --json | jq .system_health\n",
    )
    status.add_argument("--socket", metavar="FILE", help="the socket of the running program")
    status.add_argument("--check", action="store_true", help="check, also if a program is running")
    status.add_argument("--json", action="store_true", help="print the health status as JSON")
    explain = commands.add(
        "explain",
        "show which worker a chat would ask, and why",
        "Print the workers that `chat` would ask with these options, in order, and why not the others. Sends nothing.",
        "examples:\n  cortex-trio explain\n  cortex-trio explain -m claude-haiku-5\n",
    )
    explain.add_argument("prompt", nargs="?", default="Hi", metavar="PROMPT", help="the message of the user")
    _add_choice(explain)


def _add_observe(commands: _Commands) -> None:
    observe = commands.add(
        "observe",
        "watch a running gateway, or a demo, on a screen",
        "Watch the supervision tree, the workers, the API keys and the waiting calls of a program that was opened "
        "with open_cortex(observe=...). Without a socket: of a demo load on simulated providers. Ctrl-C ends it.",
        "examples:\n  cortex-trio observe\n  cortex-trio observe /run/cortex.sock --once\n"
        "  cortex-trio observe --svg frame.svg\n",
    )
    observe.add_argument("socket", nargs="?", metavar="SOCKET", help="the socket of the program")
    observe.add_argument("--once", action="store_true", help="print one frame and end")
    observe.add_argument("--svg", metavar="FILE", help="write one frame as an SVG to FILE and end")


def _add_serve(commands: _Commands) -> None:
    serve = commands.add(
        "serve",
        "serve the gateway over HTTP, with the APIs of OpenAI, Anthropic and Google",
        "Listen for HTTP requests in the APIs of OpenAI, Anthropic and Google, and answer them from your providers. "
        "SIGTERM and Ctrl-C drain, SIGHUP reads the configuration again. Without --key it listens on loopback only.",
        "examples:\n  cortex-trio serve\n  cortex-trio serve --port 0 --config gateway.json\n"
        "  cortex-trio serve --host 0.0.0.0 --keys-file keys.txt --tls-cert server.pem\n",
    )
    serve.add_argument(
        "--config", metavar="FILE", help="the configuration, JSON or TOML (default: the environment)"
    )
    serve.add_argument("--host", default="127.0.0.1", metavar="HOST", help="listen here (default: 127.0.0.1)")
    serve.add_argument(
        "--port", type=_port, default=8080, metavar="PORT", help="0 takes a free one (default: 8080)"
    )
    serve.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="KEY",
        help="a key that clients must send; may be given more than once",
    )
    serve.add_argument("--keys-file", metavar="FILE", help="keys, one a line, or a JSON list of virtual keys")
    serve.add_argument("--tls-cert", metavar="FILE", help="the certificate, for HTTPS")
    serve.add_argument("--tls-key", metavar="FILE", help="its key")
    serve.add_argument(
        "--grace",
        type=_number,
        default=30.0,
        metavar="SECONDS",
        help="how long requests may take to end when the server is stopped (default: 30)",
    )
    serve.add_argument(
        "--workers", type=_count, default=1, metavar="N", help="processes that serve (default: 1)"
    )
    serve.add_argument(
        "--max-body", type=_bytes, default="32MiB", metavar="BYTES", help="the longest body (default: 32MiB)"
    )
    serve.add_argument(
        "--body-timeout",
        type=_positive,
        default=60.0,
        metavar="SECONDS",
        help="how long a body may pause (default: 60)",
    )
    for option in ("--listen-fd", "--spare-fd"):  # of a socket that is inherited
        serve.add_argument(option, type=int, action="append", default=[], help=argparse.SUPPRESS)
    serve.add_argument("--store-socket", help=argparse.SUPPRESS)


def _add_configuration(commands: _Commands) -> None:
    config = commands.add(
        "config",
        "check the configuration",
        "Print which workers and settings the environment configures, from which variable each value comes, and what "
        "is wrong. Sends nothing. Exits with 2 if something is wrong.",
        "examples:\n  cortex-trio config check\n  cortex-trio config check --json | jq .problems\n",
    )
    config.add_argument("action", choices=("check",), help="what to do")
    config.add_argument("--json", action="store_true", help="print what was found as one JSON object")
    keys = commands.add(
        "keys",
        "list the API keys, masked, or make one for a client of the server",
        "Print the API keys of each worker in masked form, and the variable that each one comes from. With `new NAME`: "
        "make a key for a client of `cortex-trio serve`, print it once, and print the object for the configuration.",
        "examples:\n  cortex-trio keys\n  cortex-trio keys new team-a\n",
    )
    keys.add_argument("action", nargs="?", choices=("new",), help="what to do")
    keys.add_argument("name", nargs="?", metavar="NAME", help="the name of the new key")


def _add_completion(commands: _Commands) -> None:
    completion = commands.add(
        "completion",
        "print a completion script for your shell",
        "Print a script that completes commands, options and their values.",
        "examples:\n"
        "  source <(cortex-trio completion bash)                     in ~/.bashrc\n"
        '  cortex-trio completion zsh > "${fpath[1]}/_cortex-trio"\n'
        "  cortex-trio completion fish > ~/.config/fish/completions/cortex-trio.fish\n",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="the shell")


# ------------------------------------------------------------------ demonstrations and proofs


def _add_demo(commands: _Commands) -> None:
    demo = commands.add(
        "demo",
        "show failover with simulated providers: no API keys, no network",
        "Start simulated providers on this machine, break them on purpose, and show what the gateway does.",
    )
    demo.add_argument(
        "--seed", type=int, default=0, metavar="N", help="choose other questions and faults (default: 0)"
    )


def _add_exam(commands: _Commands) -> None:
    exam = commands.add(
        "exam",
        "run the failover exam, with this gateway or with another one",
        "Run the 34 scenarios of the failover exam with every provider, in virtual time, and print the scorecard. "
        "With --base-url, run S01 to S16 and S31 to S34 on another OpenAI-compatible gateway, in real time.",
        "examples:\n  cortex-trio exam --only S01,S08\n  cortex-trio exam --base-url http://127.0.0.1:4000/v1\n",
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


def _add_simulate(commands: _Commands) -> None:
    simulate = commands.add(
        "simulate",
        "run simulated days with random faults and check the invariants",
        "Run a gateway for simulated hours in virtual time, with random providers, load and faults, and with actors "
        "killed at random moments. The same seed gives the same run, byte for byte.",
        "examples:\n  cortex-trio simulate --seeds 0..99 --hours 24\n"
        "  cortex-trio simulate --seeds 17 --trace trace.txt --timeline timeline.svg\n",
    )
    simulate.add_argument(
        "--seeds", default="0..49", metavar="A..B", help="the seeds to run, one run for each (default: 0..49)"
    )
    simulate.add_argument(
        "--hours", type=float, default=24.0, help="simulated hours of each run (default: 24)"
    )
    simulate.add_argument(
        "--processes", type=_count, metavar="N", help="processes to use (default: one for each processor)"
    )
    simulate.add_argument(
        "--timeline", metavar="FILE", help="draw one run as an SVG: the first that failed, or else the first"
    )
    simulate.add_argument("--trace", metavar="FILE", help="write all events of that run to this file")
