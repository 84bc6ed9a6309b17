"""`cortex-trio`, or `python -m cortex_trio`: the command line's way in."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

from .cli.arguments import COMMANDS, parser
from .cli.running import run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (None: this process's own) and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an answer may hold what this terminal cannot show
    arguments = parser().parse_args(argv)
    return run_command(COMMANDS[arguments.command], arguments)


if __name__ == "__main__":
    sys.exit(main())
