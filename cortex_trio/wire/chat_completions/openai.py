"""OpenAI's own chat completions: strict about fields, reasoning is hidden, chunks are padded."""

from __future__ import annotations

import hashlib
from typing import Any

from ...events import FinishReason, Reply, Usage
from ..rules import Rule
from ..server import Frame, FrameKind
from ..writing import dumps, encoded
from . import rules
from .render import ChatCompletionsRenderer
from .server import ChatCompletionsServer

Json = dict[str, Any]


class OpenAIRenderer(ChatCompletionsRenderer):
    reasoning_field = None
    makes_images = False
    own_fields = False

    def begin(self) -> list[Frame]:
        if self._preview.calls and not self._preview.text:
            delta: Json = {"role": "assistant", "content": None}
        elif self._preview.refused:
            delta = {"role": "assistant", "content": None, "refusal": ""}
        else:
            delta = {"role": "assistant", "content": "", "refusal": None}
        return [Frame(FrameKind.OPENING, self._chunk_event(delta))]

    def _envelope(self, kind: str) -> Json:
        envelope = super()._envelope(kind)
        if kind == "chat.completion.chunk":
            envelope |= {"service_tier": "default", "system_fingerprint": None}
        return envelope

    def _chunk_event(self, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, **self._taken_logprobs(), "finish_reason": finish}
        chunk = {**self._envelope("chat.completion.chunk"), "choices": [choice]}
        if self._form.include_usage:
            chunk["usage"] = None
        return self._padded(chunk)

    def _usage_event(self) -> bytes:
        envelope = self._envelope("chat.completion.chunk")
        return self._padded({**envelope, "choices": [], "usage": self._usage_of(self._usage)})

    def _padded(self, chunk: Json) -> bytes:
        if self._form.obfuscated:
            noise = hashlib.blake2b(repr(chunk["choices"]).encode(), digest_size=8).hexdigest()
            chunk["obfuscation"] = noise[: int(noise[0], 16) + 1]
        return self._data(chunk)

    def _usage_of(self, usage: Usage) -> Json:
        shown = super()._usage_of(usage)
        shown["prompt_tokens_details"]["audio_tokens"] = 0
        for name in ("audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens"):
            shown["completion_tokens_details"][name] = 0
        return shown

    def reply(self, reply: Reply) -> bytes:
        refused = reply.finish_reason is FinishReason.REFUSAL
        message = {**self._message(reply), "refusal": reply.text if refused else None}
        message["annotations"] = self._annotations(reply.citations)
        body = {
            **self._envelope("chat.completion"),
            "choices": [self._whole_choice(message, reply)],
            "usage": self._usage_of(reply.usage),
            "service_tier": "default",
            "system_fingerprint": None,
        }
        return encoded(dumps(body, indent=2)) + b"\n"


class OpenAIServer(ChatCompletionsServer):
    renders = OpenAIRenderer

    def _rule(self) -> Rule:
        return rules.OPENAI
