"""`cortex_trio.__all__` is the API: what is there can be imported, is sorted, complete, and says what it is."""

import enum
import inspect
import types
from collections.abc import Iterator

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


@pytest.mark.parametrize("name", CONTRACT)
def test_what_was_promised_is_here(name: str) -> None:
    assert name in cortex_trio.__all__
    assert hasattr(cortex_trio, name)


@pytest.mark.parametrize("verb", VERBS)
def test_a_gateway_has_the_verbs_that_were_promised(verb: str) -> None:
    assert callable(getattr(cortex_trio.Cortex, verb))


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


def callables() -> Iterator[tuple[str, object]]:
    """Every public class and function, and the public methods of classes that are more than data."""
    for name in cortex_trio.__all__:
        value = getattr(cortex_trio, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            yield name, value
        if inspect.isclass(value):
            for member, function in vars(value).items():
                if not member.startswith("_") and isinstance(
                    function, types.FunctionType | property | classmethod
                ):
                    yield f"{name}.{member}", function


@pytest.mark.parametrize(("name", "value"), [pytest.param(*pair, id=pair[0]) for pair in callables()])
def test_a_public_name_says_what_it_is_or_is_self_evident_data(name: str, value: object) -> None:
    if not is_data(value):
        assert inspect.getdoc(value)


def is_data(value: object) -> bool:
    """A frozen attrs class whose fields are the whole story, an enum, or a property with a name of its own."""
    if isinstance(value, property):
        return True
    return inspect.isclass(value) and (attrs.has(value) or issubclass(value, enum.Enum))
