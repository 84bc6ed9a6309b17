"""`run_tools`: asks the model and runs the tools that it calls, until there is an answer.

Every round is one `Cortex.complete`, so failover happens between rounds and within them. Knows no history: the caller
passes the messages, and gets what was added in `Reply.rounds`.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs
import trio

from ..errors import TooManyRounds
from ..events import FinishReason, Reply, Round, reply_of_rounds
from ..failures import InvalidRequest
from ..gateway.cortex import Cortex
from ..intake import messages_from
from ..messages import Message, Messages, Tool, ToolCall, ToolResult
from ..otp.nursery import open_flat_nursery
from .events import RoundEnded, RoundStarted, ToolEnded, ToolLoopEvent, ToolStarted
from .history import trimmed
from .toolbox import Toolbox

OnEvent = Callable[[Any], Awaitable[None] | None]
"""What receives the events; sync or async."""

MAX_ROUNDS = 10
MAX_PARALLEL = 8

NOT_RUN = (FinishReason.REFUSAL, FinishReason.CONTENT_FILTER)
"""After these the calls of an answer are not what the model wanted."""


def _positive(_: object, attribute: attrs.Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidRequest(f"{attribute.name}: a positive whole number is allowed, not {value!r:.40}")


@attrs.frozen
class LoopLimits:
    """The options of `run_tools` that are not options of a chat. Raises InvalidRequest for a wrong number."""

    max_rounds: int = attrs.field(default=MAX_ROUNDS, validator=_positive)
    max_parallel: int = attrs.field(default=MAX_PARALLEL, validator=_positive)
    on_event: OnEvent | None = None


async def run_tools(
    cortex: Cortex,
    messages: Messages,
    tools: Sequence[Callable[..., object] | Tool | Mapping[str, Any]],
    *,
    max_rounds: int = MAX_ROUNDS,
    max_parallel: int = MAX_PARALLEL,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Reply:
    """Ask, run the tools that are called, side by side, and send the results back, until there is an answer.

    `Reply.rounds` has every round; `round.messages` is what it adds to the history. A tool that raises sends an error
    result (type and text, never a traceback) unless it raises ToolAbort. So do wrong arguments, an unknown tool, and
    a call that was cut; the model can correct them. Cancelling cancels the tools.

    An async function runs in a task. A sync function runs in a worker thread, so it may block; if `run_tools` is
    cancelled, it runs to its end and its value is dropped. A function that uses Trio must be async. A call of a Tool
    without a function is not run, nor are the others of its round: the answer is then the reply with these
    `tool_calls`.

    Args:
        cortex: The gateway.
        messages: As of `Cortex.chat`.
        tools: Functions, as for `Tool.from_function`, and `Tool` values with or without a function.
        max_rounds: How often the model is asked at most.
        max_parallel: How many calls of one round run at a time.
        on_event: Called with RoundStarted, ToolStarted, ToolEnded and RoundEnded, and awaited if it is async. What it
            raises ends everything.
        options: Those of `Cortex.complete`. A `tool_choice` that requires a call counts for the first round only.

    Raises:
        InvalidRequest: A tool cannot be described to a model, or an argument is wrong. Nothing was sent.
        TooManyRounds: The model still calls tools in round `max_rounds`. These calls were not run.
        ToolAbort: A tool raised it. The other calls of the round were cancelled.
        CortexError: As `Cortex.complete`.
    """
    toolbox = Toolbox(tools)
    limits = LoopLimits(max_rounds, max_parallel, on_event)
    return await run_rounds(cortex, messages_from(messages), toolbox, limits, options)


async def run_rounds(
    cortex: Cortex,
    history: Sequence[Message],
    toolbox: Toolbox,
    limits: LoopLimits,
    options: dict[str, Any],
    window: int | None = None,
) -> Reply:
    """Do what `run_tools` describes.

    Args:
        cortex: The gateway.
        history: The messages so far.
        toolbox: The tools.
        limits: How many rounds and calls there may be.
        options: Those of `Cortex.complete`. They are changed.
        window: How many tokens of history are sent in each round, estimated. None: all.
    """
    if options.get("response_type") is not None:
        raise InvalidRequest(
            "response_type: run_tools returns a Reply; pass its messages to Cortex.complete then"
        )
    options["tools"] = toolbox.tools or None
    rounds, on_event = list[Round](), limits.on_event
    for number in range(1, limits.max_rounds + 1):
        await report(on_event, RoundStarted(number))
        reply: Reply = await cortex.complete(trimmed(history, window), **options)
        calls = reply.tool_calls if reply.finish_reason not in NOT_RUN else ()
        if calls and number == limits.max_rounds and toolbox.can_run(calls):
            rounds.append(Round(reply))
            break
        results = await run_calls(toolbox, reply, limits.max_parallel, on_event, number)
        rounds.append(Round(reply, results))
        await report(on_event, RoundEnded(number, reply, results))
        is_paused = reply.finish_reason is FinishReason.PAUSE and not reply.tool_calls
        if not results and not is_paused:
            return reply_of_rounds(rounds)
        history = (*history, *(message for message in rounds[-1].messages if message.parts))
        if options.get("tool_choice") != "none":
            options["tool_choice"] = None
    raise TooManyRounds(rounds)


async def run_calls(
    toolbox: Toolbox, reply: Reply, max_parallel: int, on_event: OnEvent | None, number: int
) -> tuple[ToolResult, ...]:
    """Run the tool calls of an answer side by side, and return their results in the order of the calls.

    Empty if it has none, or if one of them cannot be run here.

    Raises:
        ToolAbort: A tool raised it; never in an ExceptionGroup.
    """
    if reply.finish_reason in NOT_RUN or not toolbox.can_run(reply.tool_calls):
        return ()
    was_cut = reply.finish_reason is FinishReason.LENGTH
    results: dict[int, ToolResult] = {}
    failures: list[Exception] = []
    permits = trio.Semaphore(max_parallel)

    async def run(index: int, call: ToolCall) -> None:
        try:
            await report(on_event, ToolStarted(number, call))
            started = trio.current_time()
            result = results[index] = await toolbox.result_of(call, was_cut=was_cut)
            await report(on_event, ToolEnded(number, call, result, trio.current_time() - started))
        except Exception as error:  # ToolAbort, or an error of `on_event`
            failures.append(error)
            nursery.cancel_scope.cancel()
        finally:
            permits.release()

    async with open_flat_nursery() as nursery:
        for index, call in enumerate(reply.tool_calls):
            await permits.acquire()
            nursery.start_soon(run, index, call)
    if failures:
        raise failures[0]
    return tuple(results[index] for index in range(len(reply.tool_calls)))


async def report(on_event: OnEvent | None, event: ToolLoopEvent) -> None:
    """Pass an event to `on_event`, and wait for it if it is async."""
    if on_event is not None:
        pending = on_event(event)
        if inspect.isawaitable(pending):
            await pending
