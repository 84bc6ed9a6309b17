"""Checks of options that every dialect needs: the choice of a tool, the number of stops, ranges of numbers.

A value outside an API's range is refused before anything is sent. The server would answer with an error of the
caller, which ends the call, while another provider may accept the value. Knows no dialect.
"""

from __future__ import annotations

from ..failures import InvalidRequest
from ..messages import ChatRequest
from .codec import Unsupported


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
