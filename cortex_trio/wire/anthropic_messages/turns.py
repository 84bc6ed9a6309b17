"""Encodes a conversation as the turns of a Messages request. Knows no option of the request but the schema.

The rules, each of them a 400 if broken: text blocks are not blank; a user message is first; roles alternate, so
neighbours of one role are merged; tool results stand first in the user turn after their calls; only the user shows
images and files; a call of the server's own tool has a result, unless it is in flight (see `server_tools`); an
assistant turn at the end (a prefill) has no trailing white space; ids of calls are unique.

Two opaque parts are no blocks: citations go back on the text they stand behind, and the id of a container goes into
the request itself.
"""

from __future__ import annotations

import base64
import itertools
import operator
import re
from collections.abc import Sequence
from typing import Any

from ...messages import (
    ChatRequest,
    Document,
    File,
    Image,
    Message,
    Opaque,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from ..codec import Unsupported
from ..history import CallIds, arguments_object, may_replay, replayed, shown_by_user
from .files import file_block
from .server_tools import with_server_tools_paired
from .values import CITATIONS, CONTAINER, caller_value

GREETED = "."
"""The user message that is put before an assistant message at the start: the shortest that is legal."""

LEGAL_CALL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")

BREAKPOINT = {"type": "ephemeral"}
"""The prompt up to the end of the block with this as `cache_control` is cached."""

UNCACHED = ("thinking", "redacted_thinking")
"""Blocks without `cache_control`."""

Block = dict[str, Any]


class Turns:
    """Turns messages into alternating turns of blocks.

    Attributes:
        container: The id of the container that the last answer ran code in, to be used again. None: there is none.
    """

    def __init__(self, request: ChatRequest, provider: str, model: str) -> None:
        self._provider = provider
        self._model = model
        self._ids = CallIds(request.messages, LEGAL_CALL_ID)
        # Citations come as extra blocks, so the server refuses them beside a schema for the whole answer.
        self._cites = request.response_schema is None
        self.container: str | None = None

    def of(self, messages: Sequence[Message]) -> list[Block]:
        encoded = [
            # System messages after the first user message become the user's.
            ("assistant" if message.role == "assistant" else "user", block)
            for message in shown_by_user(messages)
            for block in self._blocks(message)
        ]
        runs = itertools.groupby(encoded, operator.itemgetter(0))
        turns = [{"role": role, "content": [block for _, block in run]} for role, run in runs]
        turns = with_server_tools_paired(turns)
        for turn in turns:
            if turn["role"] == "user":
                turn["content"].sort(key=lambda block: block["type"] != "tool_result")  # stable
        _strip_prefill(turns)
        if turns and turns[0]["role"] == "assistant":
            turns.insert(0, {"role": "user", "content": [{"type": "text", "text": GREETED}]})
        return turns

    def _blocks(self, message: Message) -> list[Block]:
        blocks: list[Block] = []
        for part in message.parts:
            if isinstance(part, Opaque):
                self._opaque(part, blocks)
            elif isinstance(part, File) and message.role == "assistant":
                raise Unsupported("a file in a message of the model", self._provider)
            elif (block := self._block(part)) is not None:
                blocks.append(block)
        if message.cache:
            last = next((block for block in reversed(blocks) if block["type"] not in UNCACHED), {})
            last["cache_control"] = BREAKPOINT
        return blocks

    def _opaque(self, part: Opaque, blocks: list[Block]) -> None:
        block = replayed(part, self._provider)
        match part.type:
            case _ if block is None:
                pass
            case _ if part.type == CITATIONS:
                _cite(block, blocks)
            case _ if part.type == CONTAINER:
                self.container = str(block.get("id") or "") or self.container
            case kind:
                blocks.append({"type": kind, **block})

    def _block(self, part: Part) -> Block | None:
        match part:
            case Text(text):
                return _text(text)
            case Image():
                return _image(part)
            case File():
                return file_block(part, self._provider)
            case Document():
                return self._document(part)
            case Reasoning():
                return self._thinking(part)
            case ToolCall():
                return self._call(part)
            case ToolResult():
                return self._tool_result(part)
            case Opaque():
                return None

    def _call(self, call: ToolCall) -> Block:
        arguments = arguments_object(call, self._provider)
        block = {"type": "tool_use", "id": self._ids.of_call(call), "name": call.name, "input": arguments}
        is_ours = call.origin is None or call.origin.partition("/")[0] == self._provider
        caller = caller_value(call.signature) if is_ours else None
        return block if caller is None else {**block, "caller": caller}

    def _document(self, document: Document) -> Block:
        block: Block = {
            "type": "document",
            "source": {"type": "text", "media_type": "text/plain", "data": document.text},
        }
        if title := document.title or document.id:
            block["title"] = title
        return {**block, "citations": {"enabled": True}} if self._cites else block

    def _thinking(self, part: Reasoning) -> Block | None:
        """Thinking goes back only as it came: to its model, with its signature or encrypted."""
        if not may_replay(part, self._provider, self._model):
            return None
        if part.encrypted:
            return {"type": "redacted_thinking", "data": part.encrypted}
        if part.signature:
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        return None

    def _tool_result(self, result: ToolResult) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": self._ids.of_result(result)}
        content: str | list[Block]
        if isinstance(result.content, str):
            content = result.content
        else:
            blocks = (self._block(part) for part in result.content)
            content = [block for block in blocks if block is not None]
        if result.is_error:
            block["is_error"] = True
            content = content or "failed"  # an error without text is refused
        return {**block, "content": content} if content else block


def _text(text: str) -> Block | None:
    return {"type": "text", "text": text} if text.strip() else None


def _image(image: Image) -> Block:
    if image.data is None:
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    data = base64.b64encode(image.data).decode("ascii")
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": data}}


def _cite(cited: Block, blocks: list[Block]) -> None:
    """Put citations on the end of the last text: the block that they came on. A text that was changed has none."""
    count, citations = cited.get("characters"), cited.get("citations")
    if not (blocks and blocks[-1]["type"] == "text" and isinstance(count, int) and citations):
        return
    text = blocks[-1]["text"]
    if not 0 < count <= len(text):
        return
    before, quoting = text[: len(text) - count], text[len(text) - count :]
    if not before.strip():  # a blank block is a 400
        before, quoting = "", text
    blocks[-1:] = [{"type": "text", "text": before}] if before else []
    blocks.append({"type": "text", "text": quoting, "citations": citations})


def _strip_prefill(turns: list[Block]) -> None:
    if turns and turns[-1]["role"] == "assistant":
        last = turns[-1]["content"][-1]
        if last["type"] == "text":
            last["text"] = last["text"].rstrip()
