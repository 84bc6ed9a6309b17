"""Public names are loaded when they are first used; a program pays only for the parts it uses."""

import ast
import pickle
import pydoc
import subprocess
import sys
from pathlib import Path
from typing import get_args

import attrs
import pytest

import cortex_trio
from cortex_trio.cli.arguments import INTERRUPT_CHOICES
from cortex_trio.cli.commands import COMMAND_NAMES, StrategyNames
from cortex_trio.gateway.routing.strategies import STRATEGIES

SOURCE = ast.parse(Path(cortex_trio.__file__).read_text(encoding="utf-8"))


def loaded_after(code: str) -> set[str]:
    """Return the modules of ours, and `trio`, that a fresh interpreter has loaded after `code`."""
    program = f"import sys\n{code}\nsys.stderr.write(' '.join(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name for name in ended.stderr.split() if name.partition(".")[0] in ("cortex_trio", "trio")}


def imports_for_type_checkers() -> dict[str, str]:
    """Return the module of each name that `if TYPE_CHECKING:` imports."""
    (block,) = [
        node for node in SOURCE.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: node.module or "" for node in imports for alias in node.names}


def test_type_checkers_and_programs_find_each_name_in_the_same_module() -> None:
    assert imports_for_type_checkers() == cortex_trio._MODULE_OF


def test_every_public_name_can_be_loaded() -> None:
    assert {*cortex_trio._MODULE_OF, "__version__"} == set(cortex_trio.__all__)


def test_the_kernel_loads_nothing_of_ours_beside_itself() -> None:
    loaded = loaded_after("import cortex_trio.otp")
    ours = {name for name in loaded if name.startswith("cortex_trio")}
    assert {name for name in ours if not name.startswith("cortex_trio.otp")} == {"cortex_trio"}


def test_the_package_alone_loads_nothing() -> None:
    assert loaded_after("import cortex_trio; dir(cortex_trio)") == {"cortex_trio"}


def test_a_value_loads_no_gateway() -> None:
    loaded = loaded_after("from cortex_trio import Message, FailureKind, Reply")
    assert "cortex_trio.gateway" not in loaded
    assert "trio" not in loaded


def test_help_and_version_load_neither_trio_nor_a_gateway() -> None:
    for option in ("--help", "--version"):
        code = f"from cortex_trio.__main__ import main\ntry: main(['{option}'])\nexcept SystemExit: pass"
        assert loaded_after(code) == {
            "cortex_trio",
            "cortex_trio.__main__",
            "cortex_trio.cli",
            "cortex_trio.cli.argument_types",
            "cortex_trio.cli.arguments",
            "cortex_trio.cli.commands",
            "cortex_trio.version",
        }


@pytest.mark.slow
def test_a_dialect_is_loaded_when_its_provider_is_first_used() -> None:
    """All dialects together take as long as Trio."""
    start = "import cortex_trio; cortex_trio.open_cortex; from cortex_trio.providers import PROVIDERS\n"
    packages = {"chat_completions", "responses", "anthropic_messages", "gemini", "cohere_chat", "ollama_chat"}
    for code, expected in (
        ("'groq' in PROVIDERS, len(PROVIDERS)", set[str]()),
        ("PROVIDERS['cohere']", {"cohere_chat"}),
        ("[*PROVIDERS]", packages),
    ):
        loaded = loaded_after(start + code)
        assert {name for name in packages if f"cortex_trio.wire.{name}" in loaded} == expected


@pytest.mark.slow
@pytest.mark.parametrize("command", ["chat", "status"])
def test_a_command_for_real_providers_loads_no_simulator(command: str) -> None:
    loaded = loaded_after(f"from cortex_trio.cli.commands import load_command; load_command({command!r})")
    assert "cortex_trio.gateway.cortex" in loaded
    assert not {name for name in loaded if name.startswith(("cortex_trio.simulator", "cortex_trio.lab"))}


@pytest.mark.slow
def test_every_command_can_be_loaded() -> None:
    code = (
        f"from cortex_trio.cli.commands import load_command\nfor name in {COMMAND_NAMES}: load_command(name)"
    )
    assert {f"cortex_trio.cli.{name}" for name in COMMAND_NAMES} <= loaded_after(code)


def test_the_command_line_offers_the_strategies_of_the_configuration() -> None:
    assert tuple(StrategyNames()) == tuple(STRATEGIES)


def test_dir_lists_the_public_names_before_they_are_loaded() -> None:
    code = "import cortex_trio\nassert set(cortex_trio.__all__) <= set(dir(cortex_trio))"
    assert loaded_after(code) == {"cortex_trio"}


def test_help_describes_the_public_names() -> None:
    page = pydoc.plain(pydoc.render_doc(cortex_trio))
    assert "open_cortex(" in page
    assert "class FailureKind" in page


def test_a_name_that_does_not_exist_is_an_error_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'cortex_trio' has no attribute 'open_cortexes'"):
        _ = cortex_trio.open_cortexes  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="cannot import name 'open_cortexes'"):
        exec("from cortex_trio import open_cortexes")


def test_values_are_pickled_as_before() -> None:
    message = cortex_trio.user("Hi", cortex_trio.Image(url="https://example.org/a.png"))
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer))"
    ended = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(message), capture_output=True, check=True
    )
    assert ended.stdout.decode().strip() == repr(message)
    assert pickle.loads(pickle.dumps(message)) == message
    assert attrs.has(cortex_trio.Message)


def test_the_command_line_lists_every_way_to_handle_an_interruption() -> None:
    """It keeps a list of its own, because `--help` must not load the gateway."""
    assert get_args(cortex_trio.OnInterrupt) == INTERRUPT_CHOICES


@pytest.mark.slow
@pytest.mark.parametrize("names", ["Tool, Message", "open_cortex, ChatStream"])
def test_a_program_without_typed_values_loads_no_cattrs(names: str) -> None:
    program = f"from cortex_trio import {names}\nimport sys\nprint('cattrs' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
