"""Why an answer ended: the finish reasons of all APIs in one table, and what they mean beside tool calls.

Servers that translate one API into another keep the reasons of the first ("end_turn" and "eos_token" in a chat
completion). So a dialect looks into its own table first and then into this one. Knows no dialect.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..events import FinishReason

STOP, LENGTH, TOOL_CALLS = FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS
FILTER, REFUSAL, PAUSE = FinishReason.CONTENT_FILTER, FinishReason.REFUSAL, FinishReason.PAUSE

COMMON: Mapping[str, FinishReason] = {
    "stop": STOP,
    "eos": STOP,  # Together, older vLLM
    "eos_token": STOP,  # TGI
    "end_turn": STOP,
    "stop_sequence": STOP,
    "complete": STOP,
    "completed": STOP,
    "length": LENGTH,
    "max_tokens": LENGTH,
    "max_length": LENGTH,
    "max_new_tokens": LENGTH,
    "max_output_tokens": LENGTH,
    "max_completion_tokens": LENGTH,
    "model_length": LENGTH,  # Mistral: the window is full
    "model_context_window_exceeded": LENGTH,
    "tool_calls": TOOL_CALLS,
    "tool_call": TOOL_CALLS,
    "tool_use": TOOL_CALLS,
    "function_call": TOOL_CALLS,
    "function_calls": TOOL_CALLS,
    "content_filter": FILTER,
    "content_filtered": FILTER,  # Bedrock
    "guardrail_intervened": FILTER,  # Bedrock
    "sensitive": FILTER,  # z.ai
    "safety": FILTER,
    "recitation": FILTER,
    "blocklist": FILTER,
    "prohibited_content": FILTER,
    "spii": FILTER,
    "model_armor": FILTER,
    "image_safety": FILTER,
    "image_prohibited_content": FILTER,
    "image_recitation": FILTER,
    "refusal": REFUSAL,
    "pause_turn": PAUSE,
}
"""In lower case, with underscores; the AI SDK has hyphens. A reason in neither table is OTHER."""

Reasons = Mapping[str, FinishReason]


def meaning(raw: str, own: Reasons) -> FinishReason:
    """Return what a reason means by itself."""
    return own.get(raw) or COMMON.get(raw.lower().replace("-", "_"), FinishReason.OTHER)


def reason_of(raw: str, own: Reasons, *, calls: bool, refused: bool = False) -> FinishReason:
    """Return what a reason means at the end of this answer.

    Args:
        raw: The reason as the server sent it.
        own: The table of the dialect.
        calls: The answer holds a tool call. Several APIs have one reason for a normal end and for calls.
        refused: The text of the answer is a refusal.
    """
    reason = meaning(raw, own)
    if reason is STOP and refused:
        return REFUSAL
    if reason is TOOL_CALLS and not calls:  # a client would wait for a call that is not there
        return STOP
    return TOOL_CALLS if reason is STOP and calls else reason


def first_serious(known: str, new: str, own: Reasons) -> str:
    """Return the reason that counts where a stream has two: "length" then "stop" was still cut by its limit."""
    return new if not known or _weight(new, own) > _weight(known, own) else known


def _weight(raw: str, own: Reasons) -> int:
    match meaning(raw, own):
        case FinishReason.STOP:
            return 0
        case FinishReason.OTHER:
            return 1
        case _:
            return 2
