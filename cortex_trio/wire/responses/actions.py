"""Calls of OpenAI's own tools that the caller answers: approvals, computer, shell and patch calls.

The model asks for them with items of their own types. Here, each is a `ToolCall` with a fixed name, whose arguments are
the item's own fields and whose signature is the whole item; a `ToolResult` is its answer.

    item                  name                  answer
    mcp_approval_request  mcp_approval_request  "approve", anything else refuses and is the reason
    computer_call         computer              an Image, the screenshot; it acknowledges the pending safety checks
    local_shell_call      local_shell           text
    shell_call            shell                 text, or JSON: a list of { stdout, stderr, outcome }
    apply_patch_call      apply_patch           text; a failed result says that the patch was not applied

A shell call that the server runs itself is no such call. Both sides of the dialect are here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...failures import InvalidRequest
from ...messages import Image, Text, ToolCall, ToolResult
from ..codec import compact
from ..own_fields import packed

Json = dict[str, Any]

NAMES: Mapping[str, str] = {
    "mcp_approval_request": "mcp_approval_request",
    "computer_call": "computer",
    "local_shell_call": "local_shell",
    "shell_call": "shell",
    "apply_patch_call": "apply_patch",
}
"""The name of the call, by the type of its item."""

NOT_ARGUMENTS = frozenset({"type", "id", "call_id", "status", "caller", "created_by"})
"""Fields of an item that are not what the model asks for."""

APPROVED = frozenset({"approve", "approved", "true", "yes"})
"""Texts that approve a request; everything else refuses it."""

OUTPUTS = (
    "mcp_approval_response",
    "computer_call_output",
    "local_shell_call_output",
    "shell_call_output",
    "apply_patch_call_output",
)
"""The types of the items that answer."""


def is_action(item: Mapping[str, Any]) -> bool:
    """Whether an item is a call that the caller answers."""
    environment = item.get("environment")
    own = isinstance(environment, dict) and environment.get("type") not in (None, "local")
    kind = item.get("type")
    return isinstance(kind, str) and kind in NAMES and not (kind == "shell_call" and own)


def call_of(item: Mapping[str, Any], origin: str | None = None) -> ToolCall:
    """Return the call that an item is. Raises Malformed for one nested too deeply."""
    call_id = item.get("call_id") or item.get("id")
    fields = {name: value for name, value in item.items() if name not in NOT_ARGUMENTS and value is not None}
    arguments, whole = packed(fields), packed(item)
    return ToolCall(
        call_id if isinstance(call_id, str) else "", NAMES[item["type"]], arguments, whole, origin
    )


# ------------------------------------------------------------------ the answer


def answer(item: Mapping[str, Any], result: ToolResult, content: Sequence[Json]) -> Json:
    """Return the item that answers a call.

    Args:
        item: The item of the call.
        result: The answer.
        content: Its content, as the API takes it.

    Raises:
        InvalidRequest: The answer to a computer call has no image.
    """
    call_id, text = item.get("call_id"), _text(result)
    match item.get("type"):
        case "mcp_approval_request":
            return _approval(item, result, text)
        case "computer_call":
            return _screenshot(item, content)
        case "local_shell_call":  # the reference says "id", and its example "call_id"
            own = {"id": call_id, "call_id": call_id, "output": text}
            return {"type": "local_shell_call_output", **own}
        case "shell_call":
            return {
                "type": "shell_call_output",
                "call_id": call_id,
                "output": _outputs(result, text),
                **_shell(item),
            }
        case _:
            status = "failed" if result.is_error else "completed"
            own = {"call_id": call_id, "status": status, "output": text}
            return {"type": "apply_patch_call_output", **own, **caller(item)}


def caller(item: Mapping[str, Any]) -> Json:
    """Return the program that made a call, which its result repeats; nothing where the model made it."""
    return {"caller": item["caller"]} if item.get("caller") else {}


def _text(result: ToolResult) -> str:
    if isinstance(result.content, str):
        return result.content
    return "".join(part.text for part in result.content if isinstance(part, Text))


def _approval(item: Mapping[str, Any], result: ToolResult, text: str) -> Json:
    approves = not result.is_error and text.strip().strip('"').lower() in APPROVED
    reason = {"reason": text} if text and not approves else {}
    own = {"approval_request_id": item.get("id"), "approve": approves}
    return {"type": "mcp_approval_response", **own, **reason}


def _screenshot(item: Mapping[str, Any], content: Sequence[Json]) -> Json:
    image = next((part for part in content if part["type"] == "input_image"), None)
    if image is None:
        raise InvalidRequest(
            f"the result of the computer call {item.get('call_id')!r:.40} needs an Image, the screenshot after it"
        )
    shown = {"type": "computer_screenshot", "image_url": image["image_url"]}
    checks = item.get("pending_safety_checks")
    known = {"acknowledged_safety_checks": checks} if checks else {}
    return {"type": "computer_call_output", "call_id": item.get("call_id"), "output": shown, **known}


def _shell(item: Mapping[str, Any]) -> Json:
    action = item.get("action")
    most = action.get("max_output_length") if isinstance(action, dict) else None
    return caller(item) | ({"max_output_length": most} if most else {})


def _outputs(result: ToolResult, text: str) -> list[Json]:
    """What each command wrote; a text is all that the one command wrote."""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if (
        isinstance(listed, list)
        and listed
        and all(isinstance(each, dict) and "outcome" in each for each in listed)
    ):
        return listed
    streams = {"stdout": "", "stderr": text} if result.is_error else {"stdout": text, "stderr": ""}
    return [{**streams, "outcome": {"type": "exit", "exit_code": int(result.is_error)}}]


# ------------------------------------------------------------------ the other side


def result_of(item: Mapping[str, Any], image: Image | None) -> ToolResult:
    """Return the result that an item of `OUTPUTS` is; `image` is its screenshot, where it has one."""
    call_id = str(item.get("approval_request_id") or item.get("call_id") or item.get("id") or "")
    match item["type"]:
        case "mcp_approval_response":
            approves = item.get("approve") is True
            return ToolResult(
                call_id, "approve" if approves else str(item.get("reason") or ""), is_error=not approves
            )
        case "computer_call_output" if image is not None:
            return ToolResult(call_id, (image,))
        case "shell_call_output":
            return ToolResult(call_id, compact(item.get("output") or []))
        case _:
            failed = item.get("status") == "failed"
            return ToolResult(call_id, str(item.get("output") or ""), is_error=failed)
