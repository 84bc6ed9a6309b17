"""`cortex-trio chat` in a terminal: a conversation with history, line editing and commands.

The loop of Trio pauses while a line is typed: readline restores the terminal and reacts to Ctrl-C only in the main
thread. Nothing of the gateway needs the loop meanwhile: no call is in flight, and health checks are off.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import final

import attrs
import trio

from ..errors import AllWorkersFailed
from ..failures import CortexError
from ..failures.shown import closest
from ..gateway.cortex import Cortex, open_cortex
from ..gateway.request.options import ChatOptions
from ..gateway.settings.config import Config, environment
from ..messages import Document, File, Image, Message, system, user
from .answer import Printer
from .choice import Choice
from .facts import show_health
from .prompt import attachment_from
from .running import SIGNALLED
from .screen import Colour

PROMPT, MORE = "> ", ". "
MOST_HISTORY = 1000
"""Lines that are kept for the next conversation."""

HELP = """\
/model [NAME]     use this model, or any
/provider [NAME]  use this provider only, or any
/worker [NAME]    use this worker only, or any
/system [TEXT]    change the system message, or drop it
/attach FILE      send a file with the next message
/new              forget the conversation
/undo             forget the last question and its answer
/retry            ask the last question again
/explain          show which worker would be asked, and why
/status           check the workers
/exit             leave, as Ctrl-D does
A line that ends with \\ goes on in the next one. Ctrl-C stops an answer."""
COMMANDS = [line.split()[0] for line in HELP.splitlines() if line.startswith("/")]


def converse(config: Config, arguments: argparse.Namespace, options: ChatOptions) -> int:
    """Run a conversation in the terminal. Returns the exit status: 0, or 130 after Ctrl-C at the prompt."""
    with _Readline():
        return trio.run(_converse, config, arguments, options)


async def _converse(config: Config, arguments: argparse.Namespace, options: ChatOptions) -> int:
    printer = Printer.of(arguments)
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with open_cortex(config, on_event=printer.on_event) as cortex:
            conversation = _Conversation(config, arguments, options, printer, cortex)
            names = ", ".join(config.workers)
            printer.facts.line(f"Workers: {names}. /help lists commands, Ctrl-D ends.", Colour.DIM)
            while True:
                try:
                    line = _read_line()
                except EOFError:
                    printer.out.line()
                    return 0
                except KeyboardInterrupt:
                    printer.out.line()
                    return SIGNALLED + signal.SIGINT
                if await _interruptible(signals, conversation, line):
                    return 0


async def _interruptible(signals: AsyncIterator[int], conversation: _Conversation, line: str) -> bool:
    """Run one line; Ctrl-C stops it. Returns whether the conversation ends."""
    ends = False

    async def stop_on_signal(scope: trio.CancelScope) -> None:
        async for _ in signals:
            scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_on_signal, nursery.cancel_scope)
        ends = await conversation.run_line(line)
        nursery.cancel_scope.cancel()
    return ends


def _read_line() -> str:
    """Return what is typed, with all lines that are continued. Raises EOFError, KeyboardInterrupt."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        lines = [input(PROMPT)]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(input(MORE))
        return "\n".join(lines).strip()
    finally:
        signal.signal(signal.SIGINT, before)


@final
class _Conversation:
    """The messages so far, and what the commands change."""

    def __init__(
        self,
        config: Config,
        arguments: argparse.Namespace,
        options: ChatOptions,
        printer: Printer,
        cortex: Cortex,
    ) -> None:
        self._config = config
        self._options = options
        self._printer = printer
        self._cortex = cortex
        self._choice = Choice(arguments.model, arguments.provider, arguments.worker)
        self._system: str = arguments.system or ""
        self._attached: list[Image | File | Document] = [attachment_from(name) for name in arguments.attach]
        self._messages: list[Message] = []  # pairs: a question and its answer

    async def run_line(self, line: str) -> bool:
        """Run a command, or ask a question. Returns True if the conversation ends."""
        try:
            if not line.startswith("/"):
                if line:
                    await self._ask(user(*self._attached, line))
                return False
            name, _, rest = line.partition(" ")
            return await self._command(name, rest.strip())
        except AllWorkersFailed as error:
            self._show_error(error.message)
        except CortexError as error:
            self._show_error(str(error))
        except OSError as error:
            self._show_error(f"{error.filename}: {error.strerror}")
        return False

    async def _ask(self, question: Message) -> None:
        """Ask, and keep the question with its answer. Without a whole answer neither is kept."""
        options: ChatOptions = {**self._options, **self._choice.for_any_model(self._config).options()}
        reply = await self._printer.ask(self._cortex, [*self._head(), *self._messages, question], options)
        self._printer.status_of(reply)
        self._messages += [question, reply.message]
        self._attached = []

    def _head(self) -> list[Message]:
        return [system(self._system)] if self._system else []

    async def _command(self, name: str, text: str) -> bool:
        say = self._printer.facts.line
        match name:
            case "/exit" | "/quit":
                return True
            case "/help" | "/?":
                for line in HELP.splitlines():
                    say(line)
            case "/model" | "/provider" | "/worker":
                field = name[1:]
                self._choice = attrs.evolve(self._choice, **{field: text or None})
                say(f"{field}: {text or 'any'}", Colour.DIM)
            case "/system":
                self._system = text
                say("The system message is changed." if text else "There is no system message.", Colour.DIM)
            case "/attach":
                self._attached.append(attachment_from(text))
                say(f"{text} is sent with the next message.", Colour.DIM)
            case "/new":
                self._messages = []
                say("The conversation is forgotten.", Colour.DIM)
            case "/undo":
                del self._messages[-2:]
                say(f"{len(self._messages)} messages are left.", Colour.DIM)
            case "/retry":
                if self._messages:
                    question = self._messages[-2]
                    del self._messages[-2:]
                    await self._ask(question)
            case "/explain":
                options = self._choice.for_any_model(self._config).options()
                say(self._cortex.explain([*self._head(), *self._messages, user("?")], **options))
            case "/status":
                show_health(self._printer.facts, await self._cortex.check_health())
            case _:
                meant = closest(name, COMMANDS)
                say(f"There is no {name}; {f'did you mean {meant}?' if meant else '/help lists all.'}")
        return False

    def _show_error(self, sentence: str) -> None:
        self._printer.facts.line(f"cortex-trio: {sentence}", Colour.RED)


# ------------------------------------------------------------------ readline


@final
class _Readline:
    """Line editing and history, where readline exists. The history is a file that only its owner can read."""

    def __enter__(self) -> None:
        if not sys.stdout.isatty() or environment().get("TERM") == "dumb":
            return  # input() uses readline only on a terminal
        with suppress(ImportError):
            import readline

            with suppress(OSError):
                readline.read_history_file(history_file())
            readline.set_completer_delims(" ")
            readline.set_completer(_completer(readline.get_line_buffer))
            readline.parse_and_bind("tab: complete")

    def __exit__(self, *_: object) -> None:
        with suppress(ImportError, OSError):
            import readline

            if not readline.get_current_history_length():
                return
            path = history_file()
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.set_history_length(MOST_HISTORY)
            readline.write_history_file(path)


def history_file() -> Path:
    """Return the file with the lines that were typed: below XDG_STATE_HOME, or ~/.local/state."""
    state = environment().get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "cortex-trio" / "history"


def _completer(line: Callable[[], str]) -> Callable[[str, int], str | None]:
    def complete(text: str, number: int) -> str | None:
        if not line().startswith("/") or " " in line():
            return None
        fitting = [name for name in [*COMMANDS, "/help"] if name.startswith(text)]
        return fitting[number] if number < len(fitting) else None

    return complete
