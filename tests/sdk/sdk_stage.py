"""What simulated providers say to clients that know nothing of us, and how those are run.

Each SDK is its provider's own idea of the wire: what it reads without complaint, our simulator says as the provider
would. Install them with `pip install -e '.[sdk-tests]'`; tests of an SDK that is not here are skipped.
"""

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, TypeVar

import httpx
import pytest
import trio

from cortex_trio.events import Usage
from cortex_trio.messages import ToolCall
from cortex_trio.simulator import Behaviour

T = TypeVar("T")

KEY = "sk-sim-sdk-0001"
WORDS = ["Grüße", ", <b>world</b>", " & more.\n", "Zweite\u2028Zeile"]
TEXT = "".join(WORDS)
CALL = ToolCall("call_weather_1", "weather", '{"city":"São Paulo","days":3}')
ARGUMENTS = {"city": "São Paulo", "days": 3}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
FUNCTION = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells the weather", "parameters": SCHEMA},
}
"""The tool as everybody but Anthropic wants it described."""
COUNTED = Usage(input_tokens=21, output_tokens=13, cached_input_tokens=8, reasoning_tokens=0)

SAYS = Behaviour(tokens=WORDS, usage=COUNTED)
CALLS = Behaviour(text="", tool_calls=(CALL,), usage=COUNTED)


class Sdk:
    """A package that is imported by the first test that uses it: collecting the tests would import all, in seconds."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


def sdk(name: str) -> Any:
    """Return a package. Without it all tests of the module that calls this are skipped."""
    try:
        is_installed = find_spec(name) is not None
    except ModuleNotFoundError:  # nor is its parent
        is_installed = False
    if not is_installed:
        pytest.skip(f"{name} is not installed", allow_module_level=True)
    return Sdk(name)


async def in_thread(job: Callable[[], T]) -> T:
    """Run a blocking client beside the simulator, which needs this thread to answer it."""
    return await trio.to_thread.run_sync(job)


def raised_by(job: Callable[[Any], object], *kinds: type[BaseException]) -> Callable[[Any], Any]:
    """Return a job that returns what `job` raises, for it must not leave the nursery of the simulator."""

    def run(client: Any) -> BaseException:
        try:
            job(client)
        except kinds as error:
            return error
        raise AssertionError(f"none of {kinds} was raised")

    return run


def plain_http() -> httpx.Client:
    """Return an HTTP client that reads no certificates: reading them takes longer than a test."""
    return httpx.Client(verify=False)
