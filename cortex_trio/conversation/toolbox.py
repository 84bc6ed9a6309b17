"""The tools of a conversation: runs one call, and returns its result, also when the call is wrong or the tool fails.

What a model did wrong, and what a tool raises, becomes a result that the model reads. Knows no gateway and no round.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import attrs
import trio

from ..errors import ToolAbort
from ..failures import CortexError, InvalidRequest
from ..failures.redact import scrub
from ..failures.shown import listed
from ..intake import require_different_names, tools_from
from ..messages import File, Image, Text, Tool, ToolCall, ToolResult
from ..structure import FunctionParameters, Misfit, json_text
from .calling import called

CUT = "the call was cut at the token limit of the answer and was not run; call again, with shorter arguments"

LONGEST_ERROR = 4_000
"""Characters of the text of an exception that are sent to the model: enough to see what is wrong."""


@final
class Toolbox:
    """Tools by name.

    Attributes:
        tools: What is sent to the model.
    """

    def __init__(self, tools: Sequence[Callable[..., object] | Tool | Mapping[str, Any]]) -> None:
        """
        Args:
            tools: Functions, and tools with or without a function.

        Raises:
            InvalidRequest: A function cannot be described to a model, or two tools have one name.
        """
        if isinstance(tools, str) or not isinstance(tools, Sequence):
            raise InvalidRequest(f"tools: a sequence of functions and tools, not {type(tools).__name__}")
        self.tools = tuple(_tool(item, index) for index, item in enumerate(tools))
        require_different_names(self.tools)
        self._functions = {tool.name: _Function.of(tool) for tool in self.tools if tool.function is not None}

    def has_function(self, name: str) -> bool:
        """Return whether a call of the tool `name` can be answered here; that of an unknown tool can, by an error."""
        return name in self._functions or all(tool.name != name for tool in self.tools)

    def can_run(self, calls: Sequence[ToolCall]) -> bool:
        """Return whether every call can be answered here: False if one of them is for a tool without a function."""
        return all(self.has_function(call.name) for call in calls)

    async def result_of(self, call: ToolCall, *, was_cut: bool) -> ToolResult:
        """Run a call and return its result.

        An async function runs in this task, a sync one in a worker thread.

        Args:
            call: The call; its tool has a function, or does not exist.
            was_cut: The answer ended at its token limit, so a call that is not complete was cut.

        Raises:
            ToolAbort: The tool raised it.
        """
        await trio.lowlevel.checkpoint()
        function = self._functions.get(call.name)
        if function is None:
            known = listed(tool.name for tool in self.tools)
            return _error(call, f"there is no tool {call.name!r:.80}; there are: {known}")
        if was_cut and not call.complete:
            return _error(call, CUT)
        try:
            bound = function.bound(call)
        except (Misfit, ValueError, TypeError, RecursionError) as error:
            return _error(call, f"the arguments are wrong and the tool was not run: {error}")
        try:
            return _result(call, await called(function.call, bound))
        except Exception as error:
            if abort := _abort_in(error):
                raise abort from None if abort is error else error
            return _error_result(call, error)


@attrs.frozen
class _Function:
    """The function of a tool. `parameters` is None for a custom tool, whose function has one parameter: the text."""

    call: Callable[..., Any]
    parameters: FunctionParameters | None

    @classmethod
    def of(cls, tool: Tool) -> _Function:
        assert tool.function is not None
        return cls(
            tool.function,
            None if tool.kind == "custom" else FunctionParameters.of(tool.function, tool.name),
        )

    def bound(self, call: ToolCall) -> inspect.BoundArguments:
        if self.parameters is None:
            return inspect.signature(self.call).bind(call.arguments)
        return self.parameters.bound(call.parsed())


def _tool(item: Callable[..., object] | Tool | Mapping[str, Any], index: int) -> Tool:
    if isinstance(item, Tool):
        return item
    if isinstance(item, Mapping):
        return next(iter(tools_from([item]) or ()))
    try:
        return Tool.from_function(item)
    except InvalidRequest as error:
        raise InvalidRequest(f"tools[{index}]: {error}") from None


def _error(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.id, text, call.name, is_error=True)


def _result(call: ToolCall, value: Any) -> ToolResult:
    """Return what a tool returned as a result: texts and parts as they are, anything else as JSON."""
    if isinstance(value, ToolResult):
        return attrs.evolve(value, tool_call_id=call.id, name=call.name)
    if isinstance(value, Text | Image | File):
        value = (value,)
    if isinstance(value, list | tuple) and _are_parts(value):
        parts = tuple(Text(each) if isinstance(each, str) else each for each in value)
        return ToolResult(call.id, parts, call.name)
    return ToolResult(call.id, value if isinstance(value, str) else json_text(value), call.name)


def _are_parts(values: Sequence[object]) -> bool:
    """Return whether these are parts, perhaps with texts between them; texts alone are a value, and sent as JSON."""
    return any(isinstance(each, Text | Image | File) for each in values) and all(
        isinstance(each, str | Text | Image | File) for each in values
    )


def _error_result(call: ToolCall, error: Exception) -> ToolResult:
    """Return what a tool raised as a result, without what looks like an API key, and of a length that can be sent."""
    text = scrub(_message_of(error)[: 2 * LONGEST_ERROR])
    return _error(call, text if len(text) <= LONGEST_ERROR else f"{text[:LONGEST_ERROR]} […]")


def _message_of(error: Exception) -> str:
    """Return the type and the text of an exception: no traceback, for it would show the program to the model."""
    if isinstance(error, ExceptionGroup) and not isinstance(error, CortexError):
        return "; ".join(_message_of(each) for each in error.exceptions)
    try:
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    except Exception:  # its own `__str__` fails
        return type(error).__name__


def _abort_in(error: BaseException) -> ToolAbort | None:
    """Return the ToolAbort that a tool raised, perhaps inside the group of a nursery of its own."""
    if isinstance(error, ToolAbort):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_abort_in, error.exceptions)), None)
    return None
