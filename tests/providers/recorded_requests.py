"""Recorded request bodies read back into the `ChatRequest` that should have made them, one reader for each dialect.

What has no name in a ChatRequest (seed, n, safety settings …) goes through `extra_body`, as a user would send it.
`canonical` gives two bodies that mean the same one spelling; it is all that a comparison forgives.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cortex_trio.intake import messages_from, tools_from
from cortex_trio.messages import (
    ChatRequest,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from cortex_trio.wire.gemini.rules import camel

Json = dict[str, Any]

PIXELS = base64.b64encode(b"\x89PNG").decode()
"""In place of images: in recordings their bytes are cut short."""


def with_whole_images(value: Any) -> Any:
    """The body with something legal for every image that was cut short."""
    match value:
        case list():
            return [with_whole_images(item) for item in value]
        case {"type": "base64", "data": _} | {"mimeType": _, "data": _} | {"mime_type": _, "data": _}:
            return {**value, "data": PIXELS}
        case {"images": list(images)}:
            return {**value, "images": [PIXELS for _ in images]}
        case {"url": str(url)} if url.startswith("data:"):
            return {**value, "url": f"data:image/png;base64,{PIXELS}"}
        case {"image_url": str(url)} if url.startswith("data:"):
            return {**value, "image_url": f"data:image/png;base64,{PIXELS}"}
        case dict():
            return {name: with_whole_images(item) for name, item in value.items()}
        case _:
            return value


def request_from(dialect: str, body: Json) -> ChatRequest:
    return READERS[dialect](body)


def _request(
    body: Json, named: Mapping[str, str], options: Json, messages: Sequence[Message], **more: Any
) -> ChatRequest:
    """`named`: the wire's names of what a ChatRequest has under ours; `options`: where they stand."""
    plain = {ours: options[wire] for wire, ours in named.items() if wire in options}
    if "stop" in plain:
        plain["stop"] = (plain["stop"],) if isinstance(plain["stop"], str) else tuple(plain["stop"])
    found = {name: value for name, value in {**plain, **more}.items() if value is not None}
    return ChatRequest(messages=tuple(messages), **found)


# ------------------------------------------------------------------ chat completions

CHAT = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop": "stop",
    "reasoning_effort": "reasoning",
}
CHAT_OWN = {*CHAT, "model", "messages", "stream", "stream_options", "tools", "tool_choice", "response_format"}


def read_chat(body: Json) -> ChatRequest:
    choice = body.get("tool_choice")
    extra = {name: value for name, value in body.items() if name not in CHAT_OWN}
    schema = None
    match body.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            pass
        case {"type": "json_object"} as json_mode:
            extra["response_format"] = json_mode
    return _request(
        body,
        CHAT,
        body,
        messages_from(body["messages"]),
        stream=bool(body.get("stream")),
        tools=tools_from(body.get("tools")),
        tool_choice=choice["function"]["name"] if isinstance(choice, dict) else choice,
        response_schema=schema,
        extra_body=extra or None,
    )


def canonical_chat(body: Json) -> Json:
    body = {**body, "messages": [_chat_message(message) for message in body["messages"]]}
    body["max_tokens"] = body.pop("max_completion_tokens", body.get("max_tokens"))
    body["stream"] = bool(body.get("stream"))
    body["stream_options"] = {"include_usage": True} if body["stream"] else None  # ours always asks
    for tool in body.get("tools") or ():
        if not tool["function"].get("description"):
            tool["function"].pop("description", None)
    match body.get("response_format"):
        case {"json_schema": dict(schema)}:
            schema.update(name="response", strict=True)  # ours has no other name, and no description
            schema.pop("description", None)
    if not body.get("tools"):
        body.pop("tool_choice", None)
    return {name: value for name, value in body.items() if value is not None and value != []}


def _chat_message(message: Json) -> Json:
    content = message.get("content")
    if isinstance(content, list) and all(part["type"] == "text" for part in content) and len(content) == 1:
        content = content[0]["text"]
    kept = {name: message[name] for name in ("role", "tool_calls", "tool_call_id") if message.get(name)}
    for call in kept.get("tool_calls", ()):
        call.pop("index", None)
    if message["role"] == "developer":  # OpenAI's newer name
        kept["role"] = "system"
    return {**kept, "content": content or None}


# ------------------------------------------------------------------ Anthropic

MESSAGES = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop_sequences": "stop",
}


def read_messages(body: Json) -> ChatRequest:
    messages = [Message("system", _joined(body["system"]))] if body.get("system") else []
    messages += [Message(turn["role"], tuple(_anthropic_parts(turn["content"]))) for turn in body["messages"]]
    choice = body.get("tool_choice") or {}
    thinking = body.get("thinking") or {}
    return _request(
        body,
        MESSAGES,
        body,
        messages,
        stream=bool(body.get("stream")),
        tools=tuple(
            Tool(tool["name"], tool.get("description", ""), tool["input_schema"], tool.get("strict"))
            for tool in body["tools"]
        )
        if body.get("tools")
        else None,
        tool_choice=choice.get("name") or {"any": "required"}.get(choice.get("type"), choice.get("type")),
        reasoning=thinking.get("budget_tokens", {"disabled": "none"}.get(thinking.get("type"))),
        extra_body={"thinking": thinking}
        if thinking.get("type") == "adaptive" or "display" in thinking
        else None,
    )


def _joined(system: str | list[Json]) -> str:
    return system if isinstance(system, str) else "\n\n".join(block["text"] for block in system)


def _anthropic_parts(content: str | list[Json]) -> Iterator[Part]:
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        match block:
            case {"type": "text", "text": text}:
                yield Text(text)
            case {"type": "image", "source": {"url": url}}:
                yield Image(url=url)
            case {"type": "image", "source": {"data": data, "media_type": kind}}:
                yield Image(data=base64.b64decode(data), media_type=kind)
            case {"type": "document", "source": {"data": text}}:
                yield Document(text, block.get("title"))
            case {"type": "thinking", "thinking": text, "signature": signature}:
                yield Reasoning(text, signature)
            case {"type": "redacted_thinking", "data": data}:
                yield Reasoning("", encrypted=data)
            case {"type": "tool_use", "id": call_id, "name": name, "input": arguments}:
                yield ToolCall(call_id, name, json.dumps(arguments, ensure_ascii=False))
            case {"type": "tool_result", "tool_use_id": call_id}:
                inner = block.get("content", "")
                parts = inner if isinstance(inner, str) else tuple(_anthropic_parts(inner))
                yield ToolResult(call_id, parts, is_error=block.get("is_error", False))  # type: ignore[arg-type]


def canonical_messages(body: Json) -> Json:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(item) for item in value]
        if not isinstance(value, dict):
            return value
        value = {name: plain(item) for name, item in value.items() if name != "cache_control"}
        if "role" in value and isinstance(value["content"], str):
            value["content"] = [{"type": "text", "text": value["content"]}]
        if value.get("is_error") is False:
            del value["is_error"]
        return value

    body = plain(body)
    body.setdefault("stream", False)
    if body.get("system"):
        body["system"] = _joined(body["system"])
    return {name: value for name, value in body.items() if value is not None and value != []}


# ------------------------------------------------------------------ Gemini

GENERATE = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "stopSequences": "stop",
}
GENERATE_OWN = {*GENERATE, "responseMimeType", "responseJsonSchema", "thinkingConfig"}


def read_gemini(body: Json) -> ChatRequest:
    body = camel(body)  # the API takes snake case as well
    config = dict(body.get("generationConfig") or {})
    system = body.get("systemInstruction")
    messages = [Message("system", "".join(part["text"] for part in system["parts"]))] if system else []
    messages += [
        Message("assistant" if turn.get("role") == "model" else "user", tuple(_gemini_parts(turn["parts"])))
        for turn in body["contents"]
    ]
    own_config = {name: value for name, value in config.items() if name not in GENERATE_OWN}
    thinking = dict(config.get("thinkingConfig") or {})
    budget = thinking.get("thinkingBudget", (thinking.get("thinkingLevel") or "").lower() or None)
    if "includeThoughts" in thinking:
        own_config["thinkingConfig"] = thinking
    if config.get("responseMimeType") and "responseJsonSchema" not in config:
        own_config["responseMimeType"] = config["responseMimeType"]
    known = {"contents", "systemInstruction", "generationConfig", "tools"}
    extra = {name: value for name, value in body.items() if name not in known}
    functions = [one for tool in body.get("tools") or () for one in tool["functionDeclarations"]]
    return _request(
        body,
        GENERATE,
        config,
        messages,
        tools=tuple(Tool(one["name"], one.get("description", ""), _schema(one)) for one in functions) or None,
        reasoning=budget,
        response_schema=config.get("responseJsonSchema"),
        extra_body={**extra, **({"generationConfig": own_config} if own_config else {})} or None,
    )


def _schema(function: Json) -> Json:
    return function.get("parametersJsonSchema") or function.get("parameters") or {}


def _gemini_parts(parts: list[Json]) -> Iterator[Part]:
    for part in parts:
        signature = part.get("thoughtSignature")
        match part:
            case {"text": text, "thought": True}:
                yield Reasoning(text, signature)
            case {"text": text}:
                yield Text(text)
            case {"inlineData": {"mimeType": kind, "data": data}}:
                yield Image(data=base64.b64decode(data), media_type=kind)
            case {"fileData": {"fileUri": url}}:
                yield Image(url=url, media_type=part["fileData"].get("mimeType"))
            case {"functionCall": {"name": name, **call}}:
                arguments = json.dumps(call.get("args") or {}, ensure_ascii=False)
                yield ToolCall(call.get("id", name), name, arguments, signature)
            case {"functionResponse": {"name": name, "response": response, **answer}}:
                yield ToolResult(answer.get("id", name), json.dumps(response), name=name)


def canonical_gemini(body: Json) -> Json:
    body = camel(body)
    for content in body["contents"]:
        content.setdefault("role", "user")
        for part in content["parts"]:
            if part.get("thought") is False:
                del part["thought"]
            for call in (part.get("functionCall"), part.get("functionResponse")):
                (call or {}).pop("id", None)
            if "functionCall" in part:  # bound to the answer it came in, of which a recording holds no origin
                part.pop("thoughtSignature", None)
                part["functionCall"].setdefault("args", {})
            if response := part.get("functionResponse"):
                response["response"] = "any object"  # ours wraps the text, whatever it was
    if system := body.get("systemInstruction"):
        body["systemInstruction"] = {"parts": [{"text": "".join(part["text"] for part in system["parts"])}]}
    functions = [one for tool in body.get("tools") or () for one in tool["functionDeclarations"]]
    if functions:
        body["tools"] = [(one["name"], one.get("description", ""), _schema(one)) for one in functions]
    return {name: value for name, value in body.items() if value not in (None, [], {})}


# ------------------------------------------------------------------ Cohere

COHERE = {"max_tokens": "max_tokens", "temperature": "temperature", "p": "top_p", "stop_sequences": "stop"}
COHERE_OWN = {*COHERE, "model", "messages", "stream", "tools", "tool_choice", "documents", "thinking"}


def read_cohere(body: Json) -> ChatRequest:
    messages: list[Message] = []
    for message in body["messages"]:
        parts = list(_cohere_parts(message.get("content") or ()))
        if plan := message.get("tool_plan"):
            parts.insert(0, Reasoning(plan))
        parts += [
            ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
            for call in message.get("tool_calls") or ()
        ]
        if message["role"] == "tool":
            text = "".join(part.text for part in parts if isinstance(part, Text | Document))
            parts = [ToolResult(message["tool_call_id"], text)]
        messages.append(Message(message["role"], tuple(parts)))
    extra = {name: value for name, value in body.items() if name not in COHERE_OWN}
    return _request(
        body,
        COHERE,
        body,
        messages,
        stream=bool(body.get("stream")),
        tools=tools_from(body.get("tools")) or None,
        documents=tuple(
            Document(one["data"]["text"], one["data"].get("title"), one.get("id"))
            for one in body["documents"]
        )
        if body.get("documents")
        else None,
        extra_body=extra or None,
    )


def _cohere_parts(content: str | Sequence[Json]) -> Iterator[Part]:
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        match part:
            case {"type": "text", "text": text}:
                yield Text(text)
            case {"type": "thinking", "thinking": text}:
                yield Reasoning(text)
            case {"type": "document", "document": {"data": data}}:
                yield Text(data if isinstance(data, str) else json.dumps(data))
            case {"type": "image_url", "image_url": {"url": url}}:
                yield from messages_from({"role": "user", "content": [part]})[0].parts
                assert url


def canonical_cohere(body: Json) -> Json:
    body = json.loads(json.dumps(body))
    body.setdefault("stream", False)
    for message in body["messages"]:
        match message.get("content"):
            case [{"type": "text", "text": str(text)}] if text:
                message["content"] = text
            case [{"type": "text", "text": ""}] | "" | []:
                del message["content"]
            case [{"type": "document", "document": {"data": data}}] if message["role"] == "tool":
                message["content"] = data if isinstance(data, str) else json.dumps(data)
        message.pop("citations", None)
    for tool in body.get("tools") or ():
        if not tool["function"].get("description"):
            tool["function"].pop("description", None)
    return {name: value for name, value in body.items() if value is not None and value != []}


# ------------------------------------------------------------------ Ollama

OLLAMA = {"num_predict": "max_tokens", "temperature": "temperature", "top_p": "top_p", "stop": "stop"}


def read_ollama(body: Json) -> ChatRequest:
    messages: list[Message] = []
    for message in body["messages"]:
        images = [
            Image(data=base64.b64decode(one), media_type="image/png") for one in message.get("images") or ()
        ]
        calls = [
            ToolCall(call.get("id", ""), call["function"]["name"], json.dumps(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        ]
        texts = [Text(message["content"])] if message.get("content") else []
        messages.append(Message(message["role"], (*texts, *images, *calls)))
    options = body.get("options") or {}
    own = {name: value for name, value in options.items() if name not in OLLAMA}
    extra = {name: body[name] for name in ("keep_alive",) if name in body}
    schema = body.get("format") if isinstance(body.get("format"), dict) else None
    if schema is None and "format" in body:
        extra["format"] = body["format"]
    think = body.get("think")
    return _request(
        body,
        OLLAMA,
        options,
        messages,
        stream=body.get("stream", True),
        tools=tools_from(body.get("tools")) or None,
        response_schema=schema,
        reasoning={False: "none", None: None}.get(think, think) if think is not True else None,
        extra_body={
            **extra,
            **({"options": own} if own else {}),
            **({"think": True} if think is True else {}),
        }
        or None,
    )


def canonical_ollama(body: Json) -> Json:
    body = json.loads(json.dumps(body))
    body.setdefault("stream", True)
    for message in body["messages"]:
        message.setdefault("content", "")
        if not message.get("images"):
            message.pop("images", None)
    for tool in body.get("tools") or ():
        tool["function"].setdefault("description", "")
    return {name: value for name, value in body.items() if value not in (None, [], {})}


# ------------------------------------------------------------------ Responses

RESPONSES = {"max_output_tokens": "max_tokens", "temperature": "temperature", "top_p": "top_p"}
RESPONSES_OWN = {*RESPONSES, "model", "input", "instructions", "stream", "store", "include", "tools", "text"}


def read_responses(body: Json) -> ChatRequest:
    messages = [Message("system", body["instructions"])] if "instructions" in body else []
    for item in body["input"]:
        assert item.get("type", "message") == "message"
        messages += messages_from({"role": item["role"], "content": list(_responses_parts(item["content"]))})
    extra = {name: value for name, value in body.items() if name not in RESPONSES_OWN}
    return _request(
        body,
        RESPONSES,
        body,
        messages,
        stream=bool(body.get("stream")),
        tools=tools_from(body.get("tools")),
        response_schema=body["text"]["format"]["schema"] if "text" in body else None,
        reasoning=body.get("reasoning", {}).get("effort"),
        extra_body=extra or None,
    )


def _responses_parts(content: str | Sequence[Json]) -> Iterator[Part]:
    for part in [{"type": "input_text", "text": content}] if isinstance(content, str) else content:
        match part:
            case {"type": "input_text", "text": text}:
                yield Text(text)
            case {"type": "input_image", "image_url": url}:
                yield from messages_from(
                    {"role": "user", "content": [{"type": "image_url", "image_url": url}]}
                )[0].parts


def canonical_responses(body: Json) -> Json:
    """Ours never has the server keep an answer, and asks for reasoning whether the recorded request did or not."""
    body = json.loads(json.dumps(body))
    body.setdefault("stream", False)
    body |= {"store": False, "include": ["reasoning.encrypted_content"]}
    for item in body["input"]:
        match item["content"]:
            case [{"type": "input_text", "text": str(text)}]:
                item["content"] = text
        item.pop("type", None)
    if schema := body.get("text", {}).get("format"):
        schema["name"] = "response"  # ours has no other
    return body


READERS: Mapping[str, Callable[[Json], ChatRequest]] = {
    "chat_completions": read_chat,
    "anthropic_messages": read_messages,
    "gemini": read_gemini,
    "cohere_chat": read_cohere,
    "ollama_chat": read_ollama,
    "responses": read_responses,
}
CANONICAL: Mapping[str, Callable[[Json], Json]] = {
    "chat_completions": canonical_chat,
    "anthropic_messages": canonical_messages,
    "gemini": canonical_gemini,
    "cohere_chat": canonical_cohere,
    "ollama_chat": canonical_ollama,
    "responses": canonical_responses,
}
