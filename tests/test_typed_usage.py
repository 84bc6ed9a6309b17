"""A program of a user passes both type checkers in their strictest mode, and loses no type."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "typed_programs.py"
PATIENCE_SECONDS = 300.0


@pytest.mark.slow
@pytest.mark.parametrize("command", [("mypy", "--strict"), ("pyright",)], ids=lambda command: command[0])
def test_a_users_program_passes_a_strict_type_checker(command: tuple[str, ...]) -> None:
    """The comment in its first line makes pyright strict."""
    if importlib.util.find_spec(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed (the extra `dev` has it)")
    ended = subprocess.run(
        [sys.executable, "-m", *command, str(PROGRAM)],
        cwd=HERE.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
