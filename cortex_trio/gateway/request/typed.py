"""An answer that has a type: asks, reads the value, and asks once more with what was wrong. Sends nothing itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ...errors import InvalidAnswer
from ...events import FinishReason, Reply, Round, TypedReply, reply_of_rounds
from ...failures import InvalidRequest
from ...intake import messages_from
from ...messages import Message, Messages, user
from ...structure import AnswerType, Misfit
from .options import ChatOptions

MOST_PROBLEMS = 20
"""Problems that are named to the model, and in the error."""

NOT_COMPLETE = {
    FinishReason.LENGTH: "the answer was cut at its token limit: max_tokens, or the context window",
    FinishReason.REFUSAL: "the model refused to answer",
    FinishReason.CONTENT_FILTER: "a filter of the provider stopped the answer",
    FinishReason.PAUSE: "the provider paused the answer: send reply.message back",
}
"""Why an answer is not asked for again: it would end in the same way, or it is not over."""


async def complete_typed(
    ask: Callable[[Messages, ChatOptions], Awaitable[Reply]],
    messages: Messages,
    response_type: Any,
    options: ChatOptions,
) -> TypedReply[Any]:
    """Return an answer that has a type.

    Raises:
        InvalidRequest: the type has no form in JSON, or `response_schema` is set as well.
        InvalidAnswer: the answer does not have the type, also when it was asked for once more.
        CortexError: as `ask`.
    """
    if options.get("response_schema") is not None:
        raise InvalidRequest("response_type: it sets response_schema; only one of the two is allowed")
    answer: AnswerType[Any] = AnswerType.of(response_type)
    options["response_schema"] = answer.schema
    history = messages_from(messages)
    rounds = [Round(await ask(history, options))]
    value, problems = _read(answer, rounds)
    if problems:
        history = (*history, *_repair(rounds[0].reply, problems))
        rounds.append(Round(await ask(history, options)))
        value, problems = _read(answer, rounds)
        if problems:
            raise InvalidAnswer(reply_of_rounds(rounds), problems)
    return TypedReply(value, reply_of_rounds(rounds) if len(rounds) > 1 else rounds[0].reply)


def _read(answer: AnswerType[Any], rounds: list[Round]) -> tuple[Any, list[str]]:
    """Return the value of the last answer, or what is wrong with it.

    Raises:
        InvalidAnswer: there is no use in asking again.
    """
    reply = rounds[-1].reply
    reason = NOT_COMPLETE.get(reply.finish_reason)
    if reply.tool_calls:
        reason = "the model calls tools instead of answering; run them with run_tools first"
    if reason:
        raise InvalidAnswer(reply_of_rounds(rounds), [reason])
    try:
        return answer.read(reply.text), []
    except Misfit as misfit:
        found = [f"{place}: {text}" if place else text for place, text in misfit.problems]
        return None, found[:MOST_PROBLEMS]


def _repair(reply: Reply, problems: list[str]) -> tuple[Message, ...]:
    """Return what follows the wrong answer in the history: the answer, if it has content, and what is wrong."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    request = user(
        f"Your answer does not fit the JSON Schema that was asked for:\n{listed}\n"
        "Answer again with the whole corrected JSON, and with nothing else."
    )
    return (reply.message, request) if reply.text.strip() else (request,)
