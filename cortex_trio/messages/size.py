"""How many tokens messages take, as far as that can be said without a tokenizer. Knows no model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .message import Message
from .parts import File, Image, Part, ToolResult

MOST_CHARACTERS_PER_TOKEN = 6
"""More than real text has, so that `min_tokens` is certainly not too high."""

BYTES_PER_TOKEN = 4
"""About as many as text has in UTF-8, English or not. Source: OpenAI's help page on tokens."""

TOKENS_PER_MESSAGE = 4
"""About what the role and the markers around a message take."""

TOKENS_PER_FILE = 1_000
"""About what an image, or a page of a file, takes at the providers that document it."""


def min_tokens(messages: Sequence[Message]) -> int:
    """Return how many tokens the messages take at least; images, files and tools are not counted.

    Args:
        messages: The messages of a request.
    """
    return sum(len(text) for message in messages for text in _texts(message)) // MOST_CHARACTERS_PER_TOKEN


def estimated_tokens(message: Message) -> int:
    """Return about how many tokens a message takes.

    Args:
        message: Any message.
    """
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in _texts(message))
    files = sum(isinstance(part, Image | File) for part in _parts(message))
    return TOKENS_PER_MESSAGE + -(-size // BYTES_PER_TOKEN) + files * TOKENS_PER_FILE


def _parts(message: Message) -> Iterator[Part]:
    if not isinstance(message.content, str):
        for part in message.content:
            yield part
            if isinstance(part, ToolResult) and not isinstance(part.content, str):
                yield from part.content


def _texts(message: Message) -> Iterator[str]:
    """Return what a message says: texts, reasoning, the arguments and results of tools."""
    if isinstance(message.content, str):
        yield message.content
    for part in _parts(message):
        for name in ("text", "arguments", "content"):
            if isinstance(text := getattr(part, name, None), str):
                yield text
