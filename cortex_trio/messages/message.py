"""A message of a conversation, and short ways to write one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import attrs

from .parts import Part, Phase, Text, ToolResult

Role = Literal["system", "user", "assistant", "tool"]
"""The author of a message. "tool" messages hold the results of tool calls."""


@attrs.frozen
class Message:
    """One message of a conversation."""

    role: Role
    """The author: "system", "user", "assistant" or "tool"."""

    content: str | Sequence[Part]
    """A text, or parts in order. A message with the role "tool" holds `ToolResult` parts."""

    cache: bool = attrs.field(default=False, kw_only=True)
    """True: the prompt up to the end of this message is to be cached, where the dialect has such breakpoints."""

    partial: bool = attrs.field(default=False, kw_only=True, eq=False)
    """True: the answer broke off or was left, and this is what had arrived. It is not sent, and is ignored by `==`."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """The content as parts: a string is one Text, an empty string is no part."""
        if isinstance(self.content, str):
            return (Text(self.content),) if self.content else ()
        return tuple(self.content)

    @property
    def text(self) -> str:
        """The text of all Text parts, joined, without commentary if the model wrote anything else."""
        return without_commentary((part.text, part.phase) for part in self.parts if isinstance(part, Text))


def without_commentary(pieces: Iterable[tuple[str, Phase | None]]) -> str:
    """Return pieces of text joined: those of the answer, or the commentary if there is nothing else.

    A turn that ends with a tool call may have commentary only, and then that is what the model says.

    Args:
        pieces: Each piece and its phase.
    """
    listed = list(pieces)
    answer = "".join(text for text, phase in listed if phase != "commentary")
    return answer or "".join(text for text, _ in listed)


def system(text: str) -> Message:
    """Return a system message: instructions to the model, before the first message of the user.

    Args:
        text: The instructions.
    """
    return Message("system", text)


def user(*content: str | Part) -> Message:
    """Return a message of the user.

    Args:
        content: One text, or texts and parts in order.
    """
    return Message("user", _content(content))


def assistant(*content: str | Part) -> Message:
    """Return a message of the model, for the history of a conversation. `Reply.message` is one already.

    Args:
        content: One text, or texts and parts in order.
    """
    return Message("assistant", _content(content))


def tool(*results: ToolResult) -> Message:
    """Return a message with the results of tool calls.

    Args:
        results: One result for each call of the message before.
    """
    return Message("tool", results)


def _content(content: Sequence[str | Part]) -> str | tuple[Part, ...]:
    if len(content) == 1 and isinstance(content[0], str):
        return content[0]
    return tuple(Text(part) if isinstance(part, str) else part for part in content)


Messages = str | Message | Mapping[str, Any] | Sequence[Message | Mapping[str, Any]]
"""What callers may pass: a string is one user message; mappings have OpenAI's form, {"role": …, "content": …}."""
