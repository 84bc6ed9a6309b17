"""One call of a tool: what is run, what is not, and what the model reads of it."""

from collections.abc import AsyncIterator, Iterator

import pytest
import trio

from cortex_trio import Image, InvalidRequest, Text, Tool, ToolCall
from cortex_trio.conversation.toolbox import Toolbox


def double(n: int) -> int:
    """Double a number."""
    return 2 * n


def call(arguments: str, *, complete: bool = True, name: str = "double") -> ToolCall:
    return ToolCall("call_1", name, arguments, complete=complete)


async def test_arguments_that_are_no_json_are_an_error_result() -> None:
    result = await Toolbox([double]).result_of(call("{'n': 1}", complete=False), was_cut=False)
    assert result.is_error
    assert "was not run: Expecting property name" in str(result.content)


async def test_a_call_that_was_cut_is_not_run() -> None:
    toolbox = Toolbox([double])
    cut = await toolbox.result_of(call('{"n": 12', complete=False), was_cut=True)
    whole = await toolbox.result_of(call('{"n": 12}'), was_cut=True)
    assert (cut.is_error, whole.is_error) == (True, False)
    assert "cut at the token limit" in str(cut.content)


@pytest.mark.parametrize("arguments", ["", "null", " ", "{}"])
async def test_no_arguments_are_written_in_several_forms(arguments: str) -> None:
    def ping() -> str:
        return "pong"

    result = await Toolbox([ping]).result_of(call(arguments, name="ping"), was_cut=False)
    assert result.content == "pong"


async def test_a_custom_tool_gets_the_text() -> None:
    tool = Tool("run", "Run it.", kind="custom", function=lambda code: f"ran {code}")
    custom = ToolCall("call_1", "run", "1 + 1", kind="custom")
    assert (await Toolbox([tool]).result_of(custom, was_cut=False)).content == "ran 1 + 1"


async def test_a_tool_from_a_mapping_has_no_function() -> None:
    toolbox = Toolbox([{"type": "function", "function": {"name": "yours", "parameters": {"type": "object"}}}])
    assert [tool.name for tool in toolbox.tools] == ["yours"]
    assert not toolbox.can_run([call("{}", name="yours")])
    assert toolbox.can_run([call("{}", name="unknown")])  # it has a result: an error


async def test_the_call_is_a_checkpoint_also_for_a_sync_function() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await Toolbox([double]).result_of(call('{"n": 1}'), was_cut=False)
    assert scope.cancelled_caught


async def test_a_value_that_cannot_be_json_is_an_error_result() -> None:
    def loop() -> list[object]:
        found: list[object] = []
        found.append(found)
        return found

    result = await Toolbox([loop]).result_of(call("{}", name="loop"), was_cut=False)
    assert result.is_error


def test_a_function_beside_a_schema_of_ones_own_needs_annotations_too() -> None:
    tool = Tool("f", "F.", {"type": "object", "properties": {}}, function=lambda n: n)
    with pytest.raises(InvalidRequest, match="tool f: parameter n needs an annotation"):
        Toolbox([tool])


class BadText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("error", [BadText(), ExceptionGroup("several", [ValueError("first"), BadText()])])
async def test_an_exception_that_cannot_be_shown_is_an_error_result(error: Exception) -> None:
    def fail() -> None:
        raise error

    result = await Toolbox([fail]).result_of(call("{}", name="fail"), was_cut=False)
    assert result.is_error
    assert str(result.content).endswith("BadText")


async def test_no_api_key_in_an_exception_reaches_the_model() -> None:
    def fail() -> None:
        raise ValueError("401 for Bearer sk-proj-abcdefghijklmnop1234")

    result = await Toolbox([fail]).result_of(call("{}", name="fail"), was_cut=False)
    assert "abcdefghijklmnop" not in str(result.content)
    assert "401" in str(result.content)


async def test_the_text_of_an_exception_is_cut_to_what_can_be_sent() -> None:
    def fail() -> None:
        raise ValueError("x" * 10_000_000)

    result = await Toolbox([fail]).result_of(call("{}", name="fail"), was_cut=False)
    assert len(str(result.content)) < 5_000
    assert str(result.content).endswith("[…]")


async def test_texts_beside_an_image_are_parts() -> None:
    image = Image(url="https://host/plot.png")

    def plot() -> list[str | Image]:
        return ["The plot:", image]

    def names() -> list[str]:
        return ["a", "b"]

    shown = await Toolbox([plot]).result_of(call("{}", name="plot"), was_cut=False)
    assert shown.content == (Text("The plot:"), image)
    assert (await Toolbox([names]).result_of(call("{}", name="names"), was_cut=False)).content == '["a", "b"]'


async def test_a_generator_is_no_tool() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def pages() -> AsyncIterator[int]:
        yield 1

    for wrong in (numbers, pages):
        with pytest.raises(InvalidRequest, match=f"tool {wrong.__name__}: a generator"):
            Toolbox([wrong])
