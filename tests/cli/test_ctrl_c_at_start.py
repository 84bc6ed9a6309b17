"""Ctrl-C while a command is starting: it ends with 130 and prints nothing, whichever module is being imported."""

import subprocess
import sys

import pytest
from cli_process import environment

import cortex_trio.simulator
from cortex_trio.cli.commands import COMMAND_NAMES

pytestmark = pytest.mark.slow

PRESSED_AT_IMPORT = """
import os, signal, sys
class Press:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.argv = {argv!r}
from {package}.__main__ import main
sys.meta_path.insert(0, Press())
sys.exit(main())
"""

ARGUMENTS = {"config": ("check",), "completion": ("bash",), "chat": ("Hi",)}


def pressed_at(module: str, package: str, *arguments: str) -> tuple[int, str, str]:
    code = PRESSED_AT_IMPORT.format(module=module, package=package, argv=["program", *arguments])
    command = [sys.executable, "-c", code]
    ended = subprocess.run(
        command, env=environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("name", COMMAND_NAMES)
def test_ctrl_c_while_a_command_is_imported_leaves_quietly(name: str) -> None:
    module = f"cortex_trio.cli.{name}"
    assert pressed_at(module, "cortex_trio", name, *ARGUMENTS.get(name, ())) == (130, "", "")


@pytest.mark.parametrize(
    "module", ["cortex_trio.cli.arguments", "trio", "cortex_trio.gateway.cortex", "httpx"]
)
def test_ctrl_c_at_any_import_of_a_chat_leaves_quietly(module: str) -> None:
    assert pressed_at(module, "cortex_trio", "chat", "Hi") == (130, "", "")


@pytest.mark.parametrize(
    "module",
    ["cortex_trio.cli.simulator", "trio", "h11", "cortex_trio.simulator.servers"],
)
def test_ctrl_c_at_any_import_of_the_simulator_leaves_quietly(module: str) -> None:
    assert pressed_at(module, "cortex_trio.simulator") == (130, "", "")


def test_no_public_name_of_the_simulator_is_that_of_a_module() -> None:
    """Importing the module would replace the function of the same name."""
    modules = set(cortex_trio.simulator._MODULE_OF.values())
    assert modules.isdisjoint(cortex_trio.simulator.__all__)
    assert set(cortex_trio.simulator._MODULE_OF) == set(cortex_trio.simulator.__all__)
    for name in cortex_trio.simulator.__all__:
        assert getattr(cortex_trio.simulator, name).__module__.endswith(
            cortex_trio.simulator._MODULE_OF[name]
        )
