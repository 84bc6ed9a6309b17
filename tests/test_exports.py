"""`cortex_trio.__all__` is the API: what is there can be imported, is sorted, complete, and says what it is."""

import ast
import functools
import inspect
import itertools
import re
import sys
import types
from collections.abc import Iterator
from typing import TypeGuard, get_args

import attrs
import pytest

import cortex_trio

CONTRACT = [
    "Text",
    "Image",
    "Document",
    "Reasoning",
    "ToolCall",
    "ToolResult",
    "Opaque",
    "Part",
    "Message",
    "system",
    "user",
    "assistant",
    "Tool",
    "Messages",
    "FinishReason",
    "Usage",
    "TextDelta",
    "ReasoningDelta",
    "ToolCallDelta",
    "WholePart",
    "CitationDelta",
    "LogprobsDelta",
    "TokenLogprob",
    "UsageUpdate",
    "Finished",
    "Restarted",
    "Continued",
    "StreamEvent",
    "Attempt",
    "Reply",
    "ChatStream",
    "FailureKind",
    "Failure",
    "CortexError",
    "ConfigError",
    "NoWorkersAvailable",
    "ProviderError",
    "StreamInterrupted",
    "AllWorkersFailed",
    "ApiKey",
    "api_keys_from",
    "WorkerConfig",
    "Config",
    "WorkerInfo",
    "HealthStatus",
    "Cortex",
    "open_cortex",
]
"""What was promised: these names stay."""

VERBS = [
    "chat",
    "complete",
    "embed",
    "models",
    "health_status",
    "check_health",
    "add_worker",
    "remove_worker",
    "list_workers",
    "explain",
    "tree",
]


def test_what_was_promised_is_here() -> None:
    assert set(CONTRACT) <= set(cortex_trio.__all__)
    assert [name for name in CONTRACT if not hasattr(cortex_trio, name)] == []


def test_a_gateway_has_the_verbs_that_were_promised() -> None:
    assert [verb for verb in VERBS if not callable(getattr(cortex_trio.Cortex, verb, None))] == []


def test_all_is_sorted_and_names_nothing_twice() -> None:
    assert cortex_trio.__all__ == sorted(set(cortex_trio.__all__))


def test_all_is_complete() -> None:
    for name in cortex_trio.__all__:
        getattr(cortex_trio, name)  # which loads it
    public = {
        name
        for name, value in vars(cortex_trio).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(cortex_trio.__all__) - {"__version__"} | {"TYPE_CHECKING"}


def test_importing_everything_gives_exactly_the_api() -> None:
    namespace: dict[str, object] = {}
    exec("from cortex_trio import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(cortex_trio.__all__)


# ------------------------------------------------------------------ the reference: every name and field is described

DESCRIBED = ("messages", "intake", "events", "errors", "failures")
"""The modules and packages in which everything public is described, exported or not."""


@attrs.frozen
class Entry:
    """A public class, function, method, field or enum member, and its description in the source."""

    name: str
    description: str | None
    parameters: tuple[str, ...] = ()
    is_field: bool = False


def sources() -> dict[str, ast.Module]:
    """Return the syntax trees of the modules that hold public names, by module name."""
    exported = {
        sys.modules[value.__module__] for value in map(public, cortex_trio.__all__) if has_source(value)
    }
    inner = {
        module
        for name, module in sys.modules.items()
        if name.partition(".")[0] == "cortex_trio"
        and name.split(".")[1:2]
        and name.split(".")[1] in DESCRIBED
    }
    return {module.__name__: ast.parse(inspect.getsource(module)) for module in exported | inner}


def public(name: str) -> object:
    return getattr(cortex_trio, name)


def has_source(value: object) -> TypeGuard[type | types.FunctionType]:
    return inspect.isclass(value) or inspect.isfunction(value)


@functools.cache  # not when this file is imported: every process of pytest-xdist imports all files
def entries() -> tuple[Entry, ...]:
    """Return all that the reference must describe."""
    for name in cortex_trio.__all__:
        public(name)  # which loads the modules
    return tuple(found_entries())


def found_entries() -> Iterator[Entry]:
    exported = {
        f"{value.__module__}.{value.__name__}"
        for value in map(public, cortex_trio.__all__)
        if has_source(value)
    }
    for module, tree in sorted(sources().items()):
        is_reference = module.split(".")[1] in DESCRIBED
        for node in tree.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if f"{module}.{node.name}" in exported or (is_reference and not node.name.startswith("_")):
                yield from described(node, f"{module.partition('.')[2]}.{node.name}")


def described(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[Entry]:
    if not isinstance(node, ast.ClassDef):
        yield Entry(name, ast.get_docstring(node), parameters_of(node))
        return
    yield Entry(name, ast.get_docstring(node))
    in_docstring = attributes_of(ast.get_docstring(node) or "")
    for member, following in itertools.pairwise([*node.body, ast.Pass()]):
        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
            if not member.name.startswith("_") and not is_overload(member):
                yield from described(member, f"{name}.{member.name}")
        elif (field := field_of(member)) and not field.startswith("_"):
            yield Entry(f"{name}.{field}", text_of(following) or in_docstring.get(field), is_field=True)


def is_overload(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function is one of several signatures: the function after them is described."""
    return "overload" in {ast.unparse(decorator) for decorator in node.decorator_list}


def field_of(node: ast.stmt) -> str | None:
    """Return the name of the field or enum member that a statement defines; None if it defines none."""
    match node:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return None


def text_of(node: ast.stmt) -> str | None:
    """Return the string that stands below a field: documentation tools show it as its description."""
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return None


def attributes_of(docstring: str) -> dict[str, str]:
    """Return the fields that a section `Attributes:` describes."""
    _, _, section = docstring.partition("Attributes:\n")
    return dict(re.findall(r"^    (\w+)(?: \([^)]*\))?: (.+)$", section, re.MULTILINE))


def parameters_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    """Return the parameters that need a description: those of plain functions and methods."""
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if decorators & {"property", "overload"}:
        return ()
    arguments = node.args
    named = [
        *arguments.posonlyargs,
        *arguments.args,
        *filter(None, [arguments.vararg]),
        *arguments.kwonlyargs,
    ]
    return tuple(
        each.arg for each in named if each.arg not in ("self", "cls") and not each.arg.startswith("_")
    )


@pytest.mark.slow
def test_the_reference_finds_classes_functions_fields_and_members() -> None:
    names = {entry.name for entry in entries()}
    assert {
        "messages.parts.Image.data",
        "failures.reactions.FailureKind.EDGE",
        "gateway.cortex.Cortex.chat",
    } <= names
    assert {
        "intake.messages_from",
        "errors.AllWorkersFailed.primary",
        "gateway.settings.config.Config",
    } <= names


def test_public_names_are_described() -> None:
    """A field by the string below it, or in its class's `Attributes:`; everything else by its docstring."""
    assert [entry.name for entry in entries() if not entry.description] == []


def test_public_functions_describe_their_parameters() -> None:
    """In the section `Args:`, or in the sentence above it as `name` or `name=`."""
    assert {entry.name: missing for entry in entries() if (missing := undescribed(entry))} == {}


def undescribed(entry: Entry) -> list[str]:
    _, _, section = (entry.description or "").partition("Args:\n")
    described = set(re.findall(r"^ +\*?([\w, *]+?)(?: \([^)]*\))?: ", section, re.MULTILINE))
    named = {name.strip(" *") for group in described for name in group.split(",")}
    mentioned = set(re.findall(r"`(\w+)=?`", entry.description or ""))
    return [name for name in entry.parameters if name not in named | mentioned]


def test_every_choice_of_an_option_has_a_type_of_its_own() -> None:
    choices = {"OnInterrupt", "Strategy", "KeyStrategy", "WorkerStatus", "ReasoningEffort"}
    assert choices <= set(cortex_trio.__all__)
    assert all(get_args(getattr(cortex_trio, name)) for name in choices)
