"""The entry point of `cortex-trio` and of `python -m cortex_trio`."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from .cli.arguments import parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: The arguments after the program's name. None means those of this process.

    Raises:
        SystemExit: The arguments are wrong (2), or `--help` or `--version` was asked for (0).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # An answer may hold characters that the encoding of this terminal does not have.
            stream.reconfigure(errors="replace")
    arguments = parser().parse_args(argv)

    # Imported here because they load Trio and the gateway, which take ten times as long as `--help`.
    from .cli.commands import load_command
    from .cli.running import run_command

    return run_command(load_command(arguments.command), arguments)


if __name__ == "__main__":
    sys.exit(main())
