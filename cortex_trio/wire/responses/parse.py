"""Reads a Responses request. What a legal one looks like to each provider is in `rules`.

Each item becomes a message of ours; neighbours of one side become one. What our messages have no value for is
refused: references to stored items, `previous_response_id` (the conversation itself is needed). Items of the server's
own tools become opaque parts, but for those that the client answers.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import attrs

from ...messages import (
    ChatRequest,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from ..codec import compact
from ..logprobs import asked_for
from ..openai_tools import flat_format
from ..own_fields import packed
from ..reading import Value, extra, given
from ..server import Operation, ParsedRequest, ReceivedRequest
from .actions import OUTPUTS, call_of, is_action, result_of
from .calls import OWN_FIELDS
from .content import read_file, read_image
from .items import BETWEEN_PARTS, PHASES

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",  # OpenAI's newer name
    "user": "user",
    "assistant": "assistant",
}

OWN = (
    "model",
    "input",
    "instructions",
    "stream",
    "stream_options",
    "store",
    "include",
    "max_output_tokens",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "text",
    "reasoning",
)
"""Fields that are read here; all others go into the `extra_body` of a ChatRequest."""

STORED = ("previous_response_id", "conversation", "prompt")
"""Fields that name what the server has stored."""

ECHOED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "metadata": {},
}
"""What a response repeats of its request, and the value of a field that the request left out."""


LOGPROBS = "message.output_text.logprobs"
"""What `include` names where log probabilities are wanted."""


@attrs.frozen
class ResponseForm:
    """How the client wants its response."""

    echoed: Mapping[str, Any] = attrs.field(factory=lambda: dict(ECHOED))
    """The fields that repeat the request."""
    turn: int = 1
    """Items in its input. Ids are made from it: those of another turn differ, those of a repeated request do not."""
    summary: bool = False
    """A summary of the reasoning is wanted."""
    encrypted: bool = False
    """The reasoning is wanted, encrypted."""
    obfuscated: bool = True
    """Padding that hides the length of each token."""


def parsed_chat(request: ReceivedRequest, body: Value) -> ParsedRequest:
    items = body.at("input")
    included = body.optional("include", Value.texts) or ()
    reasoning = body.get("reasoning")
    options = body.get("stream_options")
    obfuscated = options.optional("include_obfuscation", Value.boolean) if options else None
    form = ResponseForm(
        echoed={name: body.object().get(name, default) for name, default in ECHOED.items()},
        turn=len(items.raw) if isinstance(items.raw, list) else 1,
        summary=reasoning is not None and bool(reasoning.get("summary")),
        encrypted="reasoning.encrypted_content" in included,
        obfuscated=obfuscated is not False,
    )
    return ParsedRequest(
        operation=Operation.CHAT,
        identity=request.identity,
        model=body.at("model").text(),
        stream=bool(body.optional("stream", Value.boolean)),
        logprobs=asked_for(LOGPROBS in included, body.object().get("top_logprobs")),
        form=form,
    )


def chat_request(body: Value, origin: str | None) -> ChatRequest:
    """Return the request. Raises Illegal."""
    for name in STORED:
        if (stored := body.get(name)) is not None:
            raise stored.invalid(
                "nothing: no response is stored here, so the input must hold the conversation"
            )
    fields = body.without(*OWN)
    tools, own_tools = _tools(body)
    if own_tools:
        fields["tools"] = own_tools
    choice, own_choice = _tool_choice(body)
    text = body.get("text")
    schema = _schema(text) if text else None
    if text and (text.without("format") or (schema is None and text.get("format"))):
        fields["text"] = text.raw
    reasoning = body.get("reasoning")
    if reasoning and reasoning.without("effort"):
        fields["reasoning"] = reasoning.raw
    instructions = body.optional("instructions", Value.text)
    leading = (Message("system", instructions),) if instructions else ()
    return ChatRequest(
        messages=(*leading, *_messages(body.at("input"), origin)),
        stream=bool(body.optional("stream", Value.boolean)),
        **given(
            max_tokens=body.optional("max_output_tokens", Value.integer),
            temperature=body.optional("temperature", Value.number),
            top_p=body.optional("top_p", Value.number),
            tools=tools or None,
            tool_choice=choice,
            response_schema=schema,
            reasoning=reasoning.optional("effort", Value.text) if reasoning else None,
            extra_body=extra(fields | own_choice),
        ),
    )


# ------------------------------------------------------------------ options


def _tools(body: Value) -> tuple[tuple[Tool, ...], list[Any]]:
    """The caller's own tools; and, where the server is to run tools of its own, all of them as they came."""
    if (listed := body.get("tools")) is None:
        return (), []
    items = listed.items()
    tools = tuple(_tool(item) for item in items if item.kind() in ("function", "custom"))
    return tools, [] if len(tools) == len(items) else listed.raw


def _tool(item: Value) -> Tool:
    name, description = item.at("name").text(), item.optional("description", Value.text) or ""
    if item.kind() == "custom":
        form = flat_format(item.optional("format", Value.object))
        return Tool(name, description, kind="custom", format=form)
    parameters = item.optional("parameters", Value.object) or {}
    return Tool(name, description, parameters, item.optional("strict", Value.boolean))


def _tool_choice(body: Value) -> tuple[str | None, dict[str, Any]]:
    """The choice; and the field as it came where it names a tool of the server's own."""
    choice = body.get("tool_choice")
    if choice is None or isinstance(choice.raw, str):
        return (choice.raw if choice else None), {}
    if choice.kind() in ("function", "custom"):
        return choice.at("name").text(), {}
    return None, {"tool_choice": choice.raw}


def _schema(text: Value) -> dict[str, Any] | None:
    wanted = text.get("format")
    return wanted.at("schema").object() if wanted and wanted.kind() == "json_schema" else None


# ------------------------------------------------------------------ messages


def _messages(items: Value, origin: str | None) -> Iterator[Message]:
    if isinstance(items.raw, str):
        yield Message("user", items.raw)
        return
    listed = items.items()
    asked = {_asked_id(item.raw) for item in listed if isinstance(item.raw, dict) and is_action(item.raw)}
    entries = [one for item in listed for one in _item(item, origin, asked)]
    for role, run in itertools.groupby(entries, operator.itemgetter(0)):
        contents = [content for _, content in run]
        if role in ("assistant", "tool"):  # the items of one answer, the results of one step
            yield Message(role, tuple(part for content in contents for part in _as_parts(content)))
        else:
            yield from (Message(role, content) for content in contents)


Content = str | tuple[Part, ...]


def _as_parts(content: Content) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return content


def _asked_id(item: Mapping[str, Any]) -> object:
    """What answers to a call of a tool of the server's own name."""
    return item.get("call_id") or item.get("approval_request_id") or item.get("id")


def _item(item: Value, origin: str | None, asked: Collection[object]) -> Iterator[tuple[Role, Content]]:
    """`asked`: the ids of the calls that the client answers; other results are the server's own."""
    match item.optional("type", Value.text):
        case None | "message":
            named = item.at("role")
            role = ROLES.get(named.text())
            if role is None:
                raise named.invalid(" or ".join(f"'{name}'" for name in ROLES))
            content = _content(item.at("content"))
            yield role, _in_phase(content, item) if role == "assistant" else content
        case "function_call":
            yield "assistant", (_call(item, "arguments", origin),)
        case "custom_tool_call":
            yield "assistant", (attrs.evolve(_call(item, "input", origin), kind="custom"),)
        case "function_call_output" | "custom_tool_call_output":
            yield "tool", (_result(item),)
        case kind if kind in OUTPUTS and _asked_id(item.object()) in asked:
            yield "tool", (result_of(item.object(), _screenshot(item)),)
        case _ if is_action(item.object()):
            yield "assistant", (call_of(item.object(), origin),)
        case "reasoning":
            yield "assistant", tuple(_reasoning(item, origin))
        case "image_generation_call" if item.get("result") is not None:
            yield "assistant", (_own_image(item, origin),)
        case "item_reference":
            raise item.at("type").invalid("an item: none is stored here")
        case kind:
            yield "assistant", (item.opaque(kind, origin),)


def _call(item: Value, field: str, origin: str | None) -> ToolCall:
    own = {name: found.raw for name in OWN_FIELDS if (found := item.get(name))}
    signature = packed(own) if own else None
    named = item.at("call_id").text(), item.at("name").text()
    return ToolCall(*named, item.at(field).text(), signature, origin if own else None)


def _in_phase(content: Content, item: Value) -> Content:
    """Return the content of an assistant message with the phase of the message."""
    phase = item.optional("phase", Value.text)
    if phase not in PHASES:
        return content
    parts = _as_parts(content)
    return tuple(attrs.evolve(part, phase=phase) if isinstance(part, Text) else part for part in parts)


def _screenshot(item: Value) -> Image | None:
    output = item.get("output")
    if item.kind() != "computer_call_output" or output is None:
        return None
    return output.at("image_url").image()


def _content(content: Value) -> Content:
    if isinstance(content.raw, str):
        return content.raw
    return tuple(map(_part, content.items()))


def _part(part: Value) -> Text | Image | File:
    match part.kind():
        case "input_text" | "output_text" | "text":
            return Text(part.at("text").text())
        case "refusal":
            return Text(part.at("refusal").text())
        case "input_image" if part.get("image_url") is not None:
            return read_image(part)
        case "input_file":
            return read_file(part)
        case _:
            raise part.at("type").invalid("'input_text', 'input_image' with an image_url, or 'input_file'")


def _result(item: Value) -> ToolResult:
    output = item.at("output")
    call_id = item.at("call_id").text()
    if isinstance(output.raw, str):
        return ToolResult(call_id, output.raw)
    return ToolResult(call_id, tuple(map(_part, output.items())))


def _reasoning(item: Value, origin: str | None) -> Sequence[Reasoning]:
    """One part for each part of the summary, as `decode` makes them: only the last has what is encrypted."""
    item_id = item.optional("id", Value.text)
    encrypted = item.optional("encrypted_content", Value.text)
    summary = item.get("summary")
    texts = [part.at("text").text() for part in (summary.items() if summary else ())] or [""]
    parts = [text if place == 0 else BETWEEN_PARTS + text for place, text in enumerate(texts)]
    return [
        Reasoning(text, item_id, encrypted if place == len(parts) - 1 else None, origin)
        for place, text in enumerate(parts)
    ]


def _own_image(item: Value, origin: str | None) -> Image:
    """An image the model made; all else of its item is its signature, with which it goes back."""
    kind = item.optional("output_format", Value.text) or "png"
    signature = compact({name: value for name, value in item.object().items() if name != "result"})
    return Image(
        data=item.at("result").base64(), media_type=f"image/{kind}", signature=signature, origin=origin
    )
