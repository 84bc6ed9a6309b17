"""Reads a generateContent request, in camel case or snake case. What a legal one looks like is in `rules`.

The model and whether to stream are in the path. Calls and results without an id are paired by the name of their
function. A part that the API's own tools
made, and any kind of part unknown to us, becomes an opaque part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ...messages import (
    ChatRequest,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from ..codec import compact
from ..logprobs import asked_for
from ..reading import Value, extra, given
from ..server import Operation, ParsedRequest, ReceivedRequest
from .encode import FOREIGN_CALL
from .rules import camel
from .schema import json_schema
from .values import UPLOADS

OWN = ("contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "model")
"""Fields that are read here; all others go into the `extra_body` of a ChatRequest."""
OWN_CONFIG = (
    "maxOutputTokens",
    "temperature",
    "topP",
    "stopSequences",
    "responseMimeType",
    "responseJsonSchema",
    "responseSchema",
    "thinkingConfig",
)
TOOL_CHOICES: Mapping[str, str] = {"AUTO": "auto", "NONE": "none", "ANY": "required", "VALIDATED": "auto"}

FORMATS = ("responseMimeType", "responseSchema")
"""A response format without a JSON schema: an option of this API."""


@attrs.frozen
class StreamForm:
    """How the client wants its stream: as server-sent events, or as one JSON array."""

    sse: bool = False


@attrs.frozen
class EmbedForm:
    """Whether several texts came, as a batch: then the response is a list of any length."""

    batch: bool = True


def parsed_chat(request: ReceivedRequest, model: str, operation: Operation, *, stream: bool) -> ParsedRequest:
    return ParsedRequest(
        operation=operation,
        identity=request.identity,
        model=model,
        stream=stream,
        logprobs=_wanted_logprobs(request.body),
        form=StreamForm(sse=request.query.get("alt") == "sse"),
    )


def _wanted_logprobs(body: Mapping[str, Any]) -> int | None:
    """Both spellings, as everywhere."""
    config = body.get("generationConfig") or body.get("generation_config")
    if not isinstance(config, dict):
        return None
    wanted = config.get("responseLogprobs") or config.get("response_logprobs")
    return asked_for(wanted, config.get("logprobs"))


def parsed_embed(request: ReceivedRequest, model: str, body: Value, *, batch: bool) -> ParsedRequest:
    items = several(body.at("requests")) if batch else [body]
    return ParsedRequest(
        operation=Operation.EMBED,
        identity=request.identity,
        model=model,
        texts=[_joined(item.at("content")) for item in items],
        dimensions=items[0].optional("outputDimensionality", Value.integer) if items else None,
        form=EmbedForm(batch=batch),
    )


def _joined(content: Value) -> str:
    return "".join(part.at("text").text() for part in several(content.at("parts")))


def several(value: Value) -> list[Value]:
    """Return the items of a list. One that stands without its list is taken for it, as by the API."""
    return [value] if isinstance(value.raw, dict) else value.items()


def chat_request(body: Value, origin: str | None, *, stream: bool) -> ChatRequest:
    """Return the request. Raises Illegal."""
    given_body, body = body, Value(camel(body.raw))
    config = body.get("generationConfig") or Value({}, ("generationConfig",))
    tools, own_tools = _tools(body)
    reasoning, own_config = _own_config(config)
    choice, strict, own_choice = _tool_choice(body)
    fields = {**_own_fields(given_body), **own_choice}
    if own_tools:
        fields["tools"] = own_tools
    if own_config:
        fields["generationConfig"] = own_config
    if strict and tools:
        tools = tuple(attrs.evolve(tool, strict=True) for tool in tools)
    reader = _Contents(origin)
    return ChatRequest(
        messages=(*_system(body), *(reader.message(item) for item in several(body.at("contents")))),
        stream=stream,
        **given(
            max_tokens=config.optional("maxOutputTokens", Value.integer),
            temperature=config.optional("temperature", Value.number),
            top_p=config.optional("topP", Value.number),
            stop=config.optional("stopSequences", Value.texts) or None,
            tools=tools or None,
            tool_choice=choice,
            response_schema=_response_schema(config),
            reasoning=reasoning,
            extra_body=extra(fields),
        ),
    )


# ------------------------------------------------------------------ options


def _tools(body: Value) -> tuple[tuple[Tool, ...], list[Any]]:
    """The caller's functions; and, where the server is to run tools of its own, all of them as they came."""
    if (listed := body.get("tools")) is None:
        return (), []
    items = several(listed)
    declared = [
        one for item in items if (found := item.get("functionDeclarations")) for one in several(found)
    ]
    tools = tuple(
        Tool(
            one.at("name").text(),
            one.optional("description", Value.text) or "",
            one.optional("parametersJsonSchema", Value.object) or one.optional("parameters", _schema) or {},
        )
        for one in declared
    )
    has_own = any(item.without("functionDeclarations") for item in items)
    return tools, listed.raw if has_own else []


def _own_fields(body: Value) -> dict[str, Any]:
    """Fields that are not read here, spelled as they came."""
    return body.without(*(name for name in body.object() if camel({name: 0}).keys() <= {*OWN}))


def _tool_choice(body: Value) -> tuple[str | None, bool, dict[str, Any]]:
    """The choice; whether calls are held to their schema; and the field as it came where it holds more than that."""
    if (holder := body.get("toolConfig")) is None:
        return None, False, {}
    as_it_came = {"toolConfig": holder.raw}
    calling = holder.get("functionCallingConfig")
    if calling is None:
        return None, False, as_it_came
    mode = calling.optional("mode", Value.text) or "AUTO"
    names = calling.optional("allowedFunctionNames", Value.texts) or ()
    holds_more = holder.without("functionCallingConfig") or calling.without("mode", "allowedFunctionNames")
    more = as_it_came if holds_more or len(names) > 1 else {}
    if mode == "ANY" and len(names) == 1:
        return names[0], False, more
    if mode not in TOOL_CHOICES:
        raise calling.at("mode").invalid("one of AUTO, ANY, NONE, VALIDATED")
    choice = None if mode == "VALIDATED" else TOOL_CHOICES[mode]
    return choice, mode == "VALIDATED", more


def _response_schema(config: Value) -> dict[str, Any] | None:
    """The schema of an answer in JSON; other formats stay options of this API."""
    if (found := config.optional("responseJsonSchema", Value.object)) is not None:
        return found
    is_json = config.optional("responseMimeType", Value.text) == "application/json"
    return config.optional("responseSchema", _schema) if is_json else None


def _schema(value: Value) -> dict[str, Any]:
    try:
        return json_schema(value.object())
    except RecursionError:
        raise value.invalid("a schema that is nested less deeply") from None


def _own_config(config: Value) -> tuple[str | int | None, dict[str, Any]]:
    """The effort or budget of thinking; and what of the configuration a ChatRequest has no name for."""
    own = config.without(*OWN_CONFIG)
    if _response_schema(config) is None:
        own |= {name: config.at(name).raw for name in FORMATS if config.get(name)}
    if (thinking := config.get("thinkingConfig")) is None:
        return None, own
    if thinking.without("thinkingBudget", "thinkingLevel") not in ({}, {"includeThoughts": True}):
        own["thinkingConfig"] = thinking.raw
    if (budget := thinking.optional("thinkingBudget", Value.integer)) is not None:
        return budget or "none", own
    level = thinking.optional("thinkingLevel", Value.text)
    if level is None and thinking.raw:  # no effort is named
        own["thinkingConfig"] = thinking.raw
    return level.lower() if level else None, own


# ------------------------------------------------------------------ messages


def _system(body: Value) -> Iterator[Message]:
    if (found := body.get("systemInstruction")) is not None and (text := _joined(found)):
        yield Message("system", text)


def _file(data: Value) -> Image | File:
    """What is at an address: an image, unless its media type or its address says something else."""
    media_type = data.optional("mimeType", Value.text)
    address = data.at("fileUri").text()
    if address.startswith(f"{UPLOADS}files/"):
        return File(id=address.removeprefix(UPLOADS), media_type=media_type)
    if media_type is None or media_type.startswith("image/"):
        return data.at("fileUri").image(media_type)
    return File(url=address, media_type=media_type)


class _Contents:
    """Reads contents in order; remembers which calls have no result yet, for calls without ids."""

    def __init__(self, origin: str | None) -> None:
        self._origin = origin
        self._calls = 0
        self._waiting: list[tuple[str, str]] = []  # name and id of calls without a result

    def message(self, content: Value) -> Message:
        role = content.optional("role", Value.text) or "user"
        parts = tuple(self._part(part) for part in several(content.at("parts")))
        if role == "model":
            return Message("assistant", parts)
        if role not in ("user", "function"):
            raise content.at("role").invalid("'user' or 'model'")
        results = all(isinstance(part, ToolResult) for part in parts)
        return Message("tool" if results and parts else "user", parts)

    def _part(self, part: Value) -> Part:
        signature = part.optional("thoughtSignature", Value.text)
        match part.object():
            case {"text": _, "thought": True}:
                return Reasoning(part.at("text").text(), signature, origin=self._origin)
            case {"text": _} if signature is not None:
                return self._signed_text(part, signature)
            case {"text": _}:
                return Text(part.at("text").text())
            case {"inlineData": _}:
                return self._inline(part.at("inlineData"), signature)
            case {"fileData": _}:
                return _file(part.at("fileData"))
            case {"functionCall": _}:
                return self._call(part.at("functionCall"), signature)
            case {"functionResponse": _}:
                return self._result(part.at("functionResponse"))
            case fields:
                kind = next((name for name in fields if isinstance(fields[name], dict)), "part")
                return part.opaque(kind, self._origin)

    def _signed_text(self, part: Value, signature: str) -> Reasoning | Text:
        """A signature on an empty text closes the thought."""
        text = part.at("text").text()
        if not text:
            return Reasoning("", signature, origin=self._origin)
        return Text(text, signature, self._origin)

    def _inline(self, data: Value, signature: str | None) -> Image | File:
        content, media_type = data.at("data").base64(), data.at("mimeType").text()
        if not media_type.startswith("image/"):
            if not content:
                raise data.at("data").invalid("the bytes of a file")
            return File(data=content, media_type=media_type)
        origin = self._origin if signature else None
        return Image(data=content, media_type=media_type, signature=signature, origin=origin)

    def _call(self, call: Value, signature: str | None) -> ToolCall:
        name = call.at("name").text()
        call_id = call.optional("id", Value.text) or f"call_{self._calls}"
        signature = None if signature == FOREIGN_CALL else signature
        self._calls += 1
        self._waiting.append((name, call_id))
        arguments = call.get("args")
        return ToolCall(
            call_id,
            name,
            compact(arguments.object()) if arguments else "{}",
            signature,
            origin=self._origin if signature else None,
        )

    def _result(self, result: Value) -> ToolResult:
        name = result.at("name").text()
        call_id = result.optional("id", Value.text) or self._waiting_id(name)
        response = result.at("response")
        match response.object():
            case {"result": str(text)} if len(response.raw) == 1:
                return ToolResult(call_id, text, name)
            case {"error": str(text)} if len(response.raw) == 1:
                return ToolResult(call_id, text, name, is_error=True)
            case _:
                return ToolResult(call_id, response.json_text(), name)

    def _waiting_id(self, name: str) -> str:
        """The id of the first call of this function that has no result."""
        for place, (waiting, call_id) in enumerate(self._waiting):
            if waiting == name:
                del self._waiting[place]
                return call_id
        return name
