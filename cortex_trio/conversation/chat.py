"""`Conversation`: a history that stays valid, and the calls that extend it. What is valid is decided in `history`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, Self, final

import attrs

from ..errors import TooManyRounds
from ..events import Reply, Round, StreamEvent, TextDelta, ToolCallDelta, Usage, added_costs
from ..failures import InvalidRequest
from ..gateway.cortex import Cortex
from ..gateway.request.stream import ChatStream
from ..messages import Message, Tool, ToolResult
from ..messages import system as system_message
from .history import new_turn, partial_answer, trimmed
from .saved import Saved, from_json, to_json
from .tool_loop import LoopLimits, run_calls, run_rounds
from .toolbox import Toolbox

LOOP_OPTIONS = ("max_rounds", "max_parallel", "on_event")
"""Options of `run_tools` that are not options of a chat."""

OWN = ("messages", "tools", "window", "system")
"""What a conversation has, and a call of it cannot change."""


def _decides(event: StreamEvent) -> bool:
    """Return whether an event shows that an answer has begun, or that it calls a tool first."""
    return isinstance(event, ToolCallDelta) or (isinstance(event, TextDelta) and event.phase != "commentary")


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
            wanted, limits = self._wanted(options)
            history = [*self.messages, *turn]
            reply = await run_rounds(self._cortex, history, self._toolbox, limits, wanted, self.window)
            self._keep(turn, reply.rounds)
            return reply

    @asynccontextmanager
    async def stream(self, *content: Any, **options: Any) -> AsyncIterator[ChatStream]:
        """Stream an answer: `async with conversation.stream("Hi") as answer:`.

        Tools that are called first are run before the block is entered, round by round, as by `ask`. The block gets the
        first answer that begins with text. If that calls tools as well, they are run at the end of the block, and
        `stream()` without content goes on: repeat that while `answer.finish_reason` is TOOL_CALLS.

        The history is extended when the block is left: by the whole answer, or by what arrived of it, as partial.

        Args:
            content: As of `ask`.
            options: As of `ask`.

        Raises:
            InvalidRequest: There is no content, or a part or an option is wrong. Raised on entering.
            RuntimeError: Another task uses the conversation. Raised on entering.
            ToolAbort: A tool raised it, on entering or at the end of the block.
            CortexError: As `run_tools`. If it is raised on entering, the history is as before.
        """
        wanted, limits = self._wanted(options)
        with self._used():
            turn, rounds = new_turn(self.messages, content), list[Round]()
            opened: ChatStream | None = None  # None: no answer began, so there is nothing to keep
            is_kept = False
            try:
                async with AsyncExitStack() as stack:
                    opened = await self._first_text(stack, turn, rounds, limits, wanted)
                    yield opened
                if opened.finish_reason is not None:
                    reply = opened.reply_so_far
                    rounds.append(Round(reply, await self._run(reply, limits, len(rounds) + 1)))
                    self._keep(turn, rounds)
                    is_kept = True
            finally:
                if opened is not None and not is_kept:  # closed by now, so its usage and cost are known
                    self._keep_part(turn, rounds, opened)

    def _wanted(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], LoopLimits]:
        """Return the options of a call, and apart from them those of the tool loop."""
        wanted: dict[str, Any] = {**self._options, **options}
        if own := [name for name in OWN if name in wanted]:
            raise InvalidRequest(f"{own[0]}: the conversation has its own; it is no option of a call")
        return wanted, LoopLimits(**{name: wanted.pop(name) for name in LOOP_OPTIONS if name in wanted})

    async def _first_text(
        self,
        stack: AsyncExitStack,
        turn: list[Message],
        rounds: list[Round],
        limits: LoopLimits,
        wanted: dict[str, Any],
    ) -> ChatStream:
        """Return the first answer that does not begin with a tool call, open on `stack`; add the others to `rounds`.

        Raises:
            TooManyRounds: There is none in `max_rounds` rounds.
        """
        for number in range(1, limits.max_rounds + 1):
            added = [message for each in rounds for message in each.messages]
            sent = trimmed([*self.messages, *turn, *added], self.window)
            chat = self._cortex.chat(sent, tools=self._toolbox.tools or None, **wanted)
            answer = await stack.enter_async_context(chat)
            if not await self._calls_first(answer):
                return answer
            # All of it, so that failover stays invisible to the end of the calls.
            await answer.peek(lambda _: False)
            if not await self._calls_first(answer):  # another worker has answered instead
                return answer
            reply = await answer.collect()
            await stack.aclose()
            if number == limits.max_rounds:
                rounds.append(Round(reply))
                break
            results = await self._run(reply, limits, number)
            if not results:  # another call of it is for a tool without a function
                return answer
            rounds.append(Round(reply, results))
            if wanted.get("tool_choice") != "none":
                wanted["tool_choice"] = None
        raise TooManyRounds(rounds)

    async def _calls_first(self, answer: ChatStream) -> bool:
        """Return whether an answer begins with the call of a tool that can be run here."""
        first = await answer.peek(_decides) if self._toolbox.tools else None
        return isinstance(first, ToolCallDelta) and self._toolbox.has_function(first.name or "")

    async def _run(self, reply: Reply, limits: LoopLimits, number: int) -> Sequence[ToolResult]:
        return await run_calls(self._toolbox, reply, limits.max_parallel, limits.on_event, number)

    def _keep_part(self, turn: list[Message], rounds: list[Round], answer: ChatStream) -> None:
        """Add what arrived of an answer that is not whole, or whose block has raised, without its tool calls."""
        reply = answer.reply_so_far
        if answer.finish_reason is not None and not reply.tool_calls:
            self._keep(turn, [*rounds, Round(reply)])
        elif (message := partial_answer(reply.message)) is not None:
            self._keep(turn, [*rounds, Round(attrs.evolve(reply, message=message))])

    def _keep(self, turn: Sequence[Message], rounds: Sequence[Round]) -> None:
        added = [*turn, *(message for each in rounds for message in each.messages)]
        self.messages.extend(message for message in added if message.parts)
        self.usage = sum((each.usage for each in rounds), self.usage)
        before = self.cost if self._has_answer else 0.0
        self.cost = added_costs([before, *(each.reply.cost for each in rounds)])
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
