"""`Conversation`: a history that stays valid, and the calls that extend it. What is valid is decided in `history`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self, final

from ..events import FinishReason, Reply, Usage, added_costs
from ..failures import InvalidRequest
from ..gateway.cortex import Cortex
from ..gateway.request.stream import ChatStream
from ..messages import Message, Tool, tool
from ..messages import system as system_message
from .history import new_turn, partial_answer, trimmed
from .saved import Saved, from_json, to_json
from .tool_loop import MAX_PARALLEL, OnEvent, run_calls, run_tools
from .toolbox import Toolbox

LOOP_OPTIONS = ("max_rounds", "max_parallel", "on_event")
"""Options of `run_tools` that are not options of a chat."""


@final
class Conversation:
    """A history, and the calls that extend it.

        conversation = Conversation(cortex, system="Be brief.", tools=[get_weather])
        reply = await conversation.ask("How is the weather in Paris?")

    The history stays valid for every provider: tool calls keep their results, a call that fails changes nothing, and
    what arrived of an answer that broke off, or was left, is kept with `Message.partial`. Not for several tasks at a
    time: that raises RuntimeError.

    Attributes:
        messages: The whole history, oldest message first, with the system message if there is one. May be changed
            between two calls.
        usage: The token counts of all answers so far, added up.
        cost: What they cost, in US dollars. None: there is no answer yet, or the price of one of them is not known.
        window: How many tokens of history are sent at most, estimated. None: all.
    """

    def __init__(
        self,
        cortex: Cortex,
        *,
        system: str | None = None,
        tools: Sequence[Callable[..., object] | Tool | Mapping[str, Any]] = (),
        window: int | None = None,
        **options: Any,
    ) -> None:
        """
        Args:
            cortex: The gateway.
            system: Instructions to the model. They are always sent.
            tools: Tools that the model may call, as of `run_tools`.
            window: How many tokens of history are sent at most, estimated: oldest turns are left out, whole turns
                only. None: the whole history is sent.
            options: Those of `Cortex.chat`, and `max_rounds`, `max_parallel` and `on_event` of `run_tools`, for every
                call.

        Raises:
            InvalidRequest: A tool cannot be described to a model, or `window` is not a positive number.
        """
        if window is not None and (not isinstance(window, int) or isinstance(window, bool) or window < 1):
            raise InvalidRequest(
                f"window: a positive number of tokens or None is allowed, not {window!r:.40}"
            )
        self.messages: list[Message] = [system_message(system)] if system else []
        self.usage = Usage()
        self.cost: float | None = None
        self.window = window
        self._cortex = cortex
        self._toolbox = Toolbox(tools)
        self._options = options
        self._has_answer = False
        self._in_use = False

    async def ask(self, *content: Any, **options: Any) -> Reply:
        """Add a message of the user, run the tools that are called, and return the answer.

        If this raises or is cancelled, the history is as before.

        Args:
            content: Texts and parts. ToolResult parts answer the open calls of tools without a function. May be empty
                if the model is to go on: after `stream` has run tools, or after a pause.
            options: As of the constructor; they replace those of the constructor.

        Raises:
            InvalidRequest: There is no content, or a part or an option is wrong.
            RuntimeError: Another task uses the conversation.
            CortexError: As `run_tools`.
        """
        with self._used():
            turn = new_turn(self.messages, content)
            sent = trimmed([*self.messages, *turn], self.window)
            wanted = {**self._options, **options}
            reply = await run_tools(self._cortex, sent, self._toolbox.tools, **wanted)
            for each in reply.rounds:
                turn += each.messages
            self._keep(turn, [each.reply for each in reply.rounds])
            return reply

    @asynccontextmanager
    async def stream(self, *content: Any, **options: Any) -> AsyncIterator[ChatStream]:
        """Stream an answer: `async with conversation.stream("Hi") as answer:`.

        One answer, as of `Cortex.chat`. The history is extended when the block is left: by the whole answer, or by
        what arrived of it, marked as partial. If a whole answer calls tools, they are run at the end of the block,
        and `stream()` without content goes on: repeat that while `answer.finish_reason` is TOOL_CALLS.

        Args:
            content: As of `ask`.
            options: As of `ask`.

        Raises:
            InvalidRequest: There is no content, or a part or an option is wrong. Raised on entering.
            RuntimeError: Another task uses the conversation. Raised on entering.
            ToolAbort: A tool raised it, at the end of the block.
            CortexError: As `Cortex.chat`. If it is raised on entering, the history is as before.
        """
        wanted: dict[str, Any] = {**self._options, **options}
        loop = {name: wanted.pop(name, None) for name in LOOP_OPTIONS}
        with self._used():
            turn = new_turn(self.messages, content)
            sent = trimmed([*self.messages, *turn], self.window)
            opened: ChatStream | None = None  # None: it did not begin, so there is nothing to keep
            is_kept = False
            try:
                async with self._cortex.chat(sent, tools=self._toolbox.tools or None, **wanted) as answer:
                    opened = answer
                    yield answer
                if answer.finish_reason is not None:
                    await self._keep_whole(
                        turn, answer.reply_so_far, loop["max_parallel"] or MAX_PARALLEL, loop["on_event"]
                    )
                    is_kept = True
            finally:
                if opened is not None and not is_kept:  # closed by now, so its usage and cost are known
                    self._keep_part(turn, opened.reply_so_far, opened.finish_reason)

    async def _keep_whole(
        self, turn: list[Message], reply: Reply, max_parallel: int, on_event: OnEvent | None
    ) -> None:
        """Run the tools that a whole answer calls, and add it with their results."""
        results = await run_calls(self._toolbox, reply, max_parallel, on_event, 1)
        self._keep([*turn, reply.message, *([tool(*results)] if results else ())], [reply])

    def _keep_part(self, turn: list[Message], reply: Reply, finish: FinishReason | None) -> None:
        """Add what arrived of an answer that is not whole, or whose block has raised, without its tool calls."""
        if finish is not None and not reply.tool_calls:
            self._keep([*turn, reply.message], [reply])
        elif (message := partial_answer(reply.message)) is not None:
            self._keep([*turn, message], [reply])

    def _keep(self, added: Sequence[Message], replies: Sequence[Reply]) -> None:
        self.messages.extend(message for message in added if message.parts)
        self.usage = sum((reply.usage for reply in replies), self.usage)
        before = self.cost if self._has_answer else 0.0
        self.cost = added_costs([before, *(reply.cost for reply in replies)])
        self._has_answer = True

    @contextmanager
    def _used(self) -> Iterator[None]:
        if self._in_use:
            raise RuntimeError("this conversation is in use by another task: a history has one order")
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False

    def to_json(self) -> str:
        """Return the history, the usage and the cost as JSON text, with signatures, opaque blocks, and bytes as base64.

        Tools and options are not saved: functions cannot be.
        """
        return to_json(Saved(self.messages, self.usage, self.cost))

    @classmethod
    def from_json(
        cls,
        cortex: Cortex,
        text: str,
        *,
        tools: Sequence[Callable[..., object] | Tool | Mapping[str, Any]] = (),
        window: int | None = None,
        **options: Any,
    ) -> Self:
        """Return the conversation that `to_json` has saved.

        Args:
            cortex: The gateway.
            text: What `to_json` returned.
            tools: As of the constructor.
            window: As of the constructor.
            options: As of the constructor.

        Raises:
            InvalidRequest: The text is not what `to_json` returns, or as the constructor.
        """
        saved = from_json(text)
        found = cls(cortex, tools=tools, window=window, **options)
        found.messages, found.usage, found.cost = saved.messages, saved.usage, saved.cost
        found._has_answer = any(message.role == "assistant" for message in saved.messages)
        return found
