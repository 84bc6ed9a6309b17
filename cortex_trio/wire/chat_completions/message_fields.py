"""Fields of an assistant message that its server wants back as they came, and the speech of an answer.

    reasoning_details  OpenRouter: a list of blocks, some signed or encrypted; in a stream, pieces of them
    thinking_blocks    LiteLLM in front of Anthropic: the same in other words
    extra_content      Gemini: { google: { thought_signature } }, of a message or of a call
    audio              OpenAI: { id, data, transcript }; the transcript is text, the data a part

The fields of one answer become the signature of its reasoning. Knows no request and no stream around it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from ...events import ReasoningSeal, WholePart, WireEvent
from ...messages import File
from ...messages.files import media_type_of
from ..own_fields import packed, unpacked
from ..payload import Malformed, as_object, as_text, require_open

Json = dict[str, Any]

LISTS = ("reasoning_details", "thinking_blocks")
"""Lists of blocks, which come in pieces."""

VALUES = ("extra_content", "thought_signature", "reasoning_opaque")
"""Values that come whole: Gemini's, and that of GitHub Copilot. The last one counts."""

FIELDS = (*LISTS, *VALUES)

READ = frozenset({*FIELDS, "audio"})

GROWING = ("text", "summary", "thinking")
"""Fields of a block that come in pieces, which are joined; of the others the last one counts."""

SOUND = "audio/pcm"
"""The type of speech without a header: samples of 16 bits, the only format of a stream."""


class MessageFields:
    """The fields of one answer while it grows. Raises Malformed where one has another type than it can have."""

    def __init__(self) -> None:
        self._values: Json = {}
        self._blocks: dict[str, list[_Block]] = {}
        self._sound: list[str] = []  # pieces of base64

    def read(self, delta: Json) -> None:
        """Take the fields of one delta, or of a whole message."""
        if READ.isdisjoint(delta):
            return
        for name in LISTS:
            if isinstance(blocks := delta.get(name), list) and blocks:
                known = self._blocks.setdefault(name, [])
                for block in blocks:
                    self._add(known, as_object(block, f"one of {name}"))
        for name in VALUES:
            if value := delta.get(name):
                self._values[name] = value
        if isinstance(audio := delta.get("audio"), dict) and (data := audio.get("data")):
            self._sound.append(as_text(data, "audio"))

    def close(self) -> Iterator[WireEvent]:
        """Return the events of what came, at the end of the answer."""
        if self._sound:
            yield WholePart(_speech(self._sound))
        lists = {name: [block.joined() for block in blocks] for name, blocks in self._blocks.items()}
        if fields := {**lists, **self._values}:
            yield ReasoningSeal(packed(fields))

    def _add(self, known: list[_Block], block: Json) -> None:
        if known and known[-1].continues_with(block):
            known[-1].add(block)
        else:
            known.append(_Block(block))
            require_open(len(known), "blocks of reasoning")


class _Block:
    """One block: its pieces have the same type, and the same index where they have one."""

    def __init__(self, block: Json) -> None:
        self._first = block
        self._last = block
        self._pieces: dict[str, list[str]] = {}

    def continues_with(self, block: Json) -> bool:
        if block.get("type") != self._first.get("type") or block.get("type") == "reasoning.encrypted":
            return False
        if block.get("index") != self._first.get("index"):
            return False
        return not (self._last.get("signature") and block.get("signature"))

    def add(self, block: Json) -> None:
        if not self._pieces:
            self._pieces = {
                name: [self._first[name]] for name in GROWING if isinstance(self._first.get(name), str)
            }
        for name in GROWING:
            if isinstance(piece := block.get(name), str):
                self._pieces.setdefault(name, []).append(piece)
        self._last = {**self._last, **{name: value for name, value in block.items() if value is not None}}

    def joined(self) -> Json:
        return {**self._last, **{name: "".join(pieces) for name, pieces in self._pieces.items()}}


def _speech(pieces: list[str]) -> File:
    """Each piece is base64 of its own, which may end in padding."""
    try:
        sound = b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    except ValueError:
        raise Malformed("speech that is not base64") from None
    if not sound:
        raise Malformed("speech without a sound")
    return File(data=sound, media_type=media_type_of(sound) or SOUND)


# ------------------------------------------------------------------ a call


def signature_of(call: Mapping[str, Any]) -> str | None:
    """Return the signature of a call: Gemini's thought signature, or all of `extra_content` where it holds more."""
    extra = call.get("extra_content")
    if not isinstance(extra, dict) or not extra:
        return None
    match extra:
        case {"google": {"thought_signature": str(signature), **google}, **others} if (
            not google and not others
        ):
            return signature or None
    return packed(extra)


def extra_content(signature: str) -> Json:
    """Return `extra_content` for the signature of a call."""
    return unpacked(signature) or {"google": {"thought_signature": signature}}
