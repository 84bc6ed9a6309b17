"""Checks of options that every dialect needs: the choice of a tool, the number of stops, ranges of numbers.

A value outside an API's range is refused before anything is sent. The server would answer with an error of the
caller, which ends the call, while another provider may accept the value. Knows no dialect.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..failures import InvalidRequest
from ..messages import ChatRequest, File, Image, Tool, ToolResult
from .codec import Unsupported


def functions_only(request: ChatRequest, provider: str) -> Sequence[Tool]:
    """Return the tools of the request, for an API that has functions only.

    Raises:
        Unsupported: One of them is a custom tool.
    """
    for tool in request.tools or ():
        if tool.kind == "custom":
            raise Unsupported(f"custom tools (the tool {tool.name!r:.40})", provider)
    return request.tools or ()


def refused(file: File, provider: str, allowed: str = "") -> Unsupported:
    """Return the error for a file that an API has no place for; `allowed` names the files that it takes."""
    form = (
        "by URL" if file.url is not None else "by the id of an upload" if file.id is not None else "as bytes"
    )
    kind = f"of type {file.media_type} " if file.media_type else ""
    return Unsupported(f"files {kind}{form}" + (f" (only {allowed})" if allowed else ""), provider)


def require_small_files(request: ChatRequest, most: int, provider: str) -> None:
    """Raise Unsupported where the files and images of a request, in base64, take more than `most` bytes."""
    contents = [
        (part.content if not isinstance(part.content, str) else ())
        if isinstance(part, ToolResult)
        else (part,)
        for message in request.messages
        for part in message.parts
    ]
    files = [part for content in contents for part in content if isinstance(part, File | Image)]
    size = sum(-(-len(file.data) // 3) * 4 for file in files if file.data is not None)
    if size > most:
        raise Unsupported(
            f"files of {size:,} bytes in base64 in one request (only {most:,}); upload them and give their id",
            provider,
        )


def tool_choice(request: ChatRequest) -> str | None:
    """Return the choice to send; None without tools, for several servers refuse a choice then.

    Raises:
        InvalidRequest: The choice demands a tool that is not there.
    """
    choice, tools = request.tool_choice, request.tools or ()
    if choice in (None, "auto", "none"):
        return choice if tools else None
    if choice == "required" and tools:
        return choice
    if choice not in [tool.name for tool in tools]:
        known = ", ".join(tool.name for tool in tools) or "none"
        raise InvalidRequest(f"tool_choice: {choice!r:.40} cannot be met by the tools there are ({known})")
    return choice


def stops(request: ChatRequest, most: int | None, provider: str) -> list[str] | None:
    """Return the stop sequences, None for none; raises Unsupported for more than `most`."""
    if not request.stop:
        return None
    if most is not None and len(request.stop) > most:
        raise Unsupported(f"more than {most} stop sequences", provider)
    return list(request.stop)


def within(name: str, value: float | None, low: float, high: float, provider: str) -> float | None:
    """Return the value; raises Unsupported where it is outside the range of the API."""
    if value is not None and not low <= value <= high:
        raise Unsupported(f"{name}={value} (only {low} to {high})", provider)
    return value
