"""Requests of all kinds, for the request types of the providers' own clients. Knows no dialect."""

from collections.abc import Iterator
from typing import Any

from cortex_trio.messages import (
    ChatRequest,
    Document,
    File,
    Image,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    assistant,
    system,
    tool,
    user,
)

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool("weather", "The weather of a city", SCHEMA)
NOW = Tool("now", "The time", {"type": "object", "properties": {}}, cache=True)
PNG = Image(data=b"\x89PNG\r\n\x1a\n", media_type="image/png")
CALL = ToolCall("call_1", "weather", '{"city":"Bonn"}')
OTHER = ToolCall("call_2", "now", "")

HISTORIES: dict[str, tuple[Message, ...]] = {
    "a text": (user("Hi"),),
    "system texts": (system("Be brief."), Message("system", "Be kind.", cache=True), user("Hi")),
    "turns": (user("Hi"), assistant("Hello"), user("How are you?")),
    "an image": (user("See", PNG),),
    "an image by URL": (user(Image(url="https://example.org/a.png"), "What is it?"),),
    "a document": (user(Document("The facts.", "Title", "id"), "Sum up"),),
    "a PDF": (user("Sum up", File(data=b"%PDF-1.7", media_type="application/pdf", name="a.pdf")),),
    "a PDF by URL": (user("Sum up", File(url="https://example.org/a.pdf")),),
    "an upload": (user("Sum up", File(id="files/abc", media_type="application/pdf")),),
    "a recording": (user("Write it down", File(data=b"RIFF", media_type="audio/wav")),),
    "a film": (user("Describe", File(url="https://example.org/a.mp4", media_type="video/mp4")),),
    "a call": (user("Hi"), assistant(CALL), tool(ToolResult("call_1", "rain"))),
    "calls": (
        user("Hi"),
        assistant("I look.", CALL, OTHER),
        tool(ToolResult("call_1", "rain"), ToolResult("call_2", "late", is_error=True)),
    ),
    "a cut call": (
        user("Hi"),
        assistant(ToolCall("call_1", "weather", '{"ci', complete=False)),
        tool(ToolResult("call_1", "wrong", is_error=True)),
    ),
    "an image in a result": (user("Hi"), assistant(CALL), tool(ToolResult("call_1", (Text("seen"), PNG)))),
    "reasoning": (
        user("Hi"),
        assistant(Reasoning("Hm.", "c2ln"), "Hello", CALL),
        tool(ToolResult("call_1", "")),
    ),
    "a breakpoint": (Message("user", (Text("A"), PNG), cache=True), assistant("B"), user("C")),
}

OPTIONS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "limits": {"max_tokens": 200, "temperature": 0.5, "top_p": 0.9, "stop": ("END",)},
    "tools": {"tools": (WEATHER, NOW)},
    "a choice": {"tools": (WEATHER, NOW), "tool_choice": "required"},
    "a named tool": {"tools": (WEATHER,), "tool_choice": "weather"},
    "an effort": {"reasoning": "high"},
    "a budget": {"reasoning": 2048, "max_tokens": 4000},
    "a schema": {"response_schema": SCHEMA},
    "documents": {"documents": (Document("The facts.", "Title"),), "stream": False},
}


def requests() -> Iterator[tuple[str, ChatRequest]]:
    """Each history with each set of options, and what they are."""
    for told, messages in HISTORIES.items():
        for given, options in OPTIONS.items():
            yield f"{told}, {given}", ChatRequest(messages=messages, **options)
