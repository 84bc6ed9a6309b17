"""What is the same on every wire about a request's options: nothing to choose without tools, and numbers with ends.

A value outside a wire's range is refused here, before anything is sent: sent, it would be an error of the caller's
own, and one provider's range would keep the request from another that takes it. Knows no wire.
"""

from __future__ import annotations

from ..failures import InvalidRequest
from ..messages import ChatRequest
from .codec import Unsupported


def tool_choice(request: ChatRequest) -> str | None:
    """The choice to be sent; None where there is nothing to choose, which several servers refuse to be told.

    Raises InvalidRequest for a demand no tool can meet.
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
    """The stop sequences, None for none; raises Unsupported for more than the wire takes."""
    if not request.stop:
        return None
    if most is not None and len(request.stop) > most:
        raise Unsupported(f"more than {most} stop sequences", provider)
    return list(request.stop)


def within(name: str, value: float | None, low: float, high: float, provider: str) -> float | None:
    """The value, if it is one the wire takes; raises Unsupported."""
    if value is not None and not low <= value <= high:
        raise Unsupported(f"{name}={value} (only {low} to {high})", provider)
    return value
