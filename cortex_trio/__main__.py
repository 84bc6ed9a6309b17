"""The entry point of `cortex-trio` and of `python -m cortex_trio`.

It imports next to nothing, so that Ctrl-C is handled before the modules that take time are imported.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence

INTERRUPTED, FAILED = 130, 1
"""130 is the status of Ctrl-C in a shell."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: The arguments after the program's name. None means those of this process.

    Raises:
        SystemExit: The arguments are wrong (2), or `--help` or `--version` was asked for (0).
    """
    if argv is None:
        exit_on_ctrl_c()
    if not prepare_streams():
        return FAILED
    from .cli.arguments import parser

    try:
        arguments = parser().parse_args(argv)
    except SystemExit as exit_:
        return after_help(exit_)

    # Imported here because they load Trio and the gateway, which take ten times as long as `--help`.
    from .cli.commands import load_command
    from .cli.running import run_command

    status = run_command(load_command(arguments.command), arguments)
    if argv is None:
        ignore_ctrl_c()
    return status


def exit_on_ctrl_c() -> None:
    """Make Ctrl-C end the process at once, without a traceback. Commands replace this handler.

    Nothing has to be cleaned up while modules are imported. A process that ignores Ctrl-C goes on ignoring it.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))


def ignore_ctrl_c() -> None:
    """Ignore Ctrl-C from now on: while the interpreter ends, it would print a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def prepare_streams(program: str = "cortex-trio") -> bool:
    """Prepare standard output and error for any character. Returns False if standard output is closed."""
    if sys.stderr is None:  # closed by the caller, as by `2>&-`
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the whole process
    if sys.stdout is None:
        print(f"{program}: standard output is closed", file=sys.stderr)
        return False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An answer may hold characters that the encoding of this terminal does not have.
            stream.reconfigure(errors="replace")
    return True


def after_help(exit_: SystemExit) -> int:
    """Flush what argparse has printed, and exit as it wants. Returns 1 if it could not be written."""
    try:
        sys.stdout.flush()
    except OSError:
        from .cli.running import output_failed

        return output_failed()
    raise exit_


if __name__ == "__main__":
    sys.exit(main())
