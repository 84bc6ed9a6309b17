"""One spelling for recorded request bodies that mean the same: it is all that a comparison forgives."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from cortex_trio.wire.codec import compact
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


# ------------------------------------------------------------------ chat completions


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


def _joined(system: str | list[Json]) -> str:
    return system if isinstance(system, str) else "\n\n".join(block["text"] for block in system)


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


def _schema(function: Json) -> Json:
    return function.get("parametersJsonSchema") or function.get("parameters") or {}


def canonical_gemini(body: Json) -> Json:
    body = camel(body)
    body.pop("model", None)  # the path names it
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
        body["tools"] = [
            (one["name"], one.get("description", ""), _small_types(_schema(one))) for one in functions
        ]
    wanted = body.get("generationConfig") or {}
    if "responseSchema" in wanted:  # ours sends the other of the two fields
        wanted["responseJsonSchema"] = _small_types(wanted.pop("responseSchema"))
    return {name: value for name, value in body.items() if value not in (None, [], {})}


def _small_types(schema: Any) -> Any:
    """A schema in which the types are JSON Schema's: "object", not "OBJECT"."""
    match schema:
        case dict():
            lower = {"type": schema["type"].lower()} if isinstance(schema.get("type"), str) else {}
            return {name: _small_types(value) for name, value in schema.items()} | lower
        case list():
            return [_small_types(item) for item in schema]
        case _:
            return schema


# ------------------------------------------------------------------ Cohere


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
                message["content"] = data if isinstance(data, str) else compact(data)
        message.pop("citations", None)
    for tool in body.get("tools") or ():
        if not tool["function"].get("description"):
            tool["function"].pop("description", None)
    return {name: value for name, value in body.items() if value is not None and value != []}


# ------------------------------------------------------------------ Ollama


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


def canonical_responses(body: Json) -> Json:
    """Ours never has the server keep an answer, and asks for reasoning whether the recorded request did or not."""
    body = json.loads(json.dumps(body))
    body.setdefault("stream", False)
    body |= {"store": False, "include": ["reasoning.encrypted_content"]}
    for item in body["input"]:
        match item["content"]:
            case [{"type": "input_text", "text": str(text)}]:
                item["content"] = text
            case list(parts):
                for part in parts:
                    if part.get("type") == "input_image":
                        part.setdefault("detail", "auto")  # the server's default; ours always says it
        item.pop("type", None)
    if schema := body.get("text", {}).get("format"):
        schema["name"] = "response"  # ours has no other
    return body


CANONICAL: Mapping[str, Callable[[Json], Json]] = {
    "chat_completions": canonical_chat,
    "anthropic_messages": canonical_messages,
    "gemini": canonical_gemini,
    "cohere_chat": canonical_cohere,
    "ollama_chat": canonical_ollama,
    "responses": canonical_responses,
}
