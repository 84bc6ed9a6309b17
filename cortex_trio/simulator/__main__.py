"""The entry point of `python -m cortex_trio.simulator`.

It imports next to nothing, so that Ctrl-C is handled before the modules that take time are imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..__main__ import FAILED, after_help, exit_on_ctrl_c, ignore_ctrl_c, prepare_streams

PROGRAM = "python -m cortex_trio.simulator"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        argv: The arguments after the program's name. None means those of this process.

    Raises:
        SystemExit: The arguments are wrong (2), or `--help` was asked for (0).
    """
    if argv is None:
        exit_on_ctrl_c()
    if not prepare_streams(PROGRAM):
        return FAILED
    from ..cli.simulator import run_simulator

    try:
        status = run_simulator(argv, PROGRAM)
    except SystemExit as exit_:
        return after_help(exit_)
    if argv is None:
        ignore_ctrl_c()
    return status


if __name__ == "__main__":
    sys.exit(main())
