"""Decodes Gemini's answers: partial GenerateContentResponses, each a little more of one candidate.

    {"candidates": [{"content": {"parts": […]}, "finishReason"?}], "usageMetadata": {…}}   again and again
        beside content: citationMetadata, groundingMetadata, urlContextMetadata: which sources a text rests on
    {"promptFeedback": {"blockReason": …}}      instead of candidates: the prompt was refused
    {"error": {…}} or [{"error": {…}}]          at any time

There is no terminal marker: the answer is complete when a finishReason was seen and the body ends (or the array
closes). Until then the finish is held back, because an error may still follow a finishReason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ...events import (
    Finished,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    TextDelta,
    ToolCallDelta,
    Usage,
    UsageUpdate,
    WholePart,
    WireEvent,
)
from ...failures import Failure, FailureKind, classify_payload, scrub
from ..codec import malformed, truncated
from ..finish import first_serious, meaning, reason_of
from ..framing import TooLarge
from ..logprobs import logprob_events
from ..payload import (
    WORD_LIMIT,
    Malformed,
    arguments_text,
    as_list,
    as_object,
    as_text,
    as_word,
    is_above_0,
    load_json,
    opaque,
    response_started,
    text_events,
)
from ..unframed_errors import error_of, is_error
from .framing import BLANK, Frames, frames_for
from .logprobs import tokens_of
from .partial_args import PartialCall
from .sources import Sources
from .values import CONTINUATION, media_of, usage_of

FINISH_REASONS: Mapping[str, FinishReason] = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "SAFETY": FinishReason.CONTENT_FILTER,
    "RECITATION": FinishReason.CONTENT_FILTER,
    "BLOCKLIST": FinishReason.CONTENT_FILTER,
    "PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "SPII": FinishReason.CONTENT_FILTER,
    "LANGUAGE": FinishReason.CONTENT_FILTER,
    "IMAGE_SAFETY": FinishReason.CONTENT_FILTER,
    "IMAGE_PROHIBITED_CONTENT": FinishReason.CONTENT_FILTER,
    "IMAGE_RECITATION": FinishReason.CONTENT_FILTER,
    "MODEL_ARMOR": FinishReason.CONTENT_FILTER,  # Vertex: a filter of the customer's own
    "ESCALATION": FinishReason.CONTENT_FILTER,
    "PUP_LIMITED_DISABLED": FinishReason.CONTENT_FILTER,  # the prohibited-use policy, for the whole account
    "CONTINUATION": FinishReason.PAUSE,
}
"""All others are OTHER: MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL, NO_IMAGE … and those yet to be invented."""

QUOTED = 60
"""Characters of a finishMessage worth keeping; those about malformed calls go on to quote the call."""


@attrs.define
class GeminiDecoder:
    """The codec.Decoder of one streamed answer."""

    done: bool = attrs.field(default=False, init=False)
    _frames: Frames | None = attrs.field(default=None, init=False)  # None until a byte that is not blank
    _answer: _Answer = attrs.field(factory=lambda: _Answer(), init=False)

    def feed(self, data: bytes) -> list[WireEvent]:
        if self._frames is None:
            data = data.lstrip(BLANK)
            if not data:
                return []
            self._frames = frames_for(data)
        events = self._read(self._frames.feed(data))
        if self._frames.complete and not self.done:
            events += self._end()
        return events

    def finish(self) -> list[WireEvent]:
        events = self._read(self._frames.finish()) if self._frames else []
        if self._frames and self._frames.cut and not self.done:
            self.done = True
            return [*events, truncated("the stream ended inside an event")]
        return events if self.done else [*events, *self._end()]

    def _read(self, values: Iterator[str | bytes]) -> list[WireEvent]:
        events: list[WireEvent] = []
        try:
            while not self.done and (value := next(values, None)) is not None:
                events += self._answer.read(value)
                self.done = _failed(events)
        except TooLarge as error:
            self.done = True
            events.append(malformed(f"an event of {error}"))
        return events

    def _end(self) -> list[WireEvent]:
        self.done = True
        return [self._answer.end()]


def decode_whole(body: bytes) -> list[WireEvent]:
    """The events of a body that came in one piece: one response, or the array of a whole stream."""
    answer = _Answer()
    events = answer.read(body)
    return events if _failed(events) else [*events, answer.end()]


def _failed(events: list[WireEvent]) -> bool:
    return bool(events) and isinstance(events[-1], Failure)


@attrs.define
class _Answer:
    """What must be remembered between the responses of one answer."""

    calls: int = 0
    open_call: PartialCall | None = None  # its arguments are still coming
    has_content: bool = False
    finish_reason: str | None = None  # the latest; held back until the end
    finish_message: str = ""
    usage: Usage = attrs.Factory(Usage)
    named: bool = False  # the id or the model of the answer came
    sources: Sources = attrs.Factory(Sources)

    def read(self, text: str | bytes) -> list[WireEvent]:
        """The events of one JSON value; a Failure is the last of them."""
        events: list[WireEvent] = []
        try:
            value = load_json(text)
            for response in value if isinstance(value, list) else [value]:
                for event in self._response(as_object(response or {}, "a response")):
                    events.append(event)
                    if isinstance(event, Failure):
                        return events
        except (Malformed, TooLarge) as error:
            events.append(malformed(str(error)))
        return events

    def end(self) -> Finished | Failure:
        """Nothing follows: the finish that was held back, or what is missing."""
        raw = self.finish_reason
        if raw is None:
            return truncated("the answer ended without a finishReason")
        # Gemini sends STOP after calls, too.
        reason = reason_of(raw, FINISH_REASONS, calls=self.calls > 0)
        if reason is FinishReason.OTHER and not self.has_content:
            message = scrub(self.finish_message)[:QUOTED] or f"the answer is empty, finishReason {raw}"
            return Failure(FailureKind.PROTOCOL, message, code=raw, phase="stream")
        return Finished(reason, raw)

    def _response(self, response: Mapping[str, Any]) -> Iterator[WireEvent]:
        if error_of(response) is not None or (not response.get("candidates") and is_error(response)):
            yield classify_payload(response)
            return
        if not self.named and response.get("candidates"):
            yield from (started := response_started(response.get("responseId"), response.get("modelVersion")))
            self.named = bool(started)
        for candidate in as_list(response.get("candidates"), "candidates"):
            candidate = as_object(candidate or {}, "a candidate")
            if not is_above_0(candidate.get("index")):
                yield from self._candidate(candidate)
        usage = usage_of(response.get("usageMetadata"))
        if usage not in (Usage(), self.usage):
            self.usage = usage
            yield UsageUpdate(usage)
        feedback = as_object(response.get("promptFeedback") or {}, "promptFeedback")
        if feedback.get("blockReason") not in (None, "", "BLOCK_REASON_UNSPECIFIED"):
            yield _blocked(feedback)

    def _candidate(self, candidate: Mapping[str, Any]) -> Iterator[WireEvent]:
        content = as_object(candidate.get("content") or {}, "content")
        if logprobs := candidate.get("logprobsResult"):
            yield from logprob_events(tokens_of(logprobs))
        goes_on = False
        for part in as_list(content.get("parts"), "parts"):
            for event in self._part(as_object(part or {}, "a part")):
                self.has_content = goes_on = True
                if isinstance(event, TextDelta):
                    self.sources.add_text(event.text)
                yield event
        yield from self.sources.of(candidate)
        if reason := as_word(candidate.get("finishReason"), "finishReason"):
            yield from self._finishing(reason, candidate)
        elif (
            goes_on
            and self.finish_reason
            and meaning(self.finish_reason, FINISH_REASONS) is FinishReason.STOP
        ):
            self.finish_reason = None  # it came before the end of the answer

    def _finishing(self, reason: str, candidate: Mapping[str, Any]) -> Iterator[WireEvent]:
        """Older models send STOP on every response, and the real reason on later ones."""
        if reason == "FINISH_REASON_UNSPECIFIED" and self.finish_reason:
            return
        self.finish_reason = first_serious(self.finish_reason or "", reason, FINISH_REASONS)
        if self.finish_reason == reason:
            self.finish_message = as_text(candidate.get("finishMessage"), "finishMessage")
        if self.open_call is not None:
            yield self._close_call(self.open_call)
        if token := as_text(candidate.get("continuationToken"), "continuationToken"):
            yield WholePart(opaque(CONTINUATION, {"continuationToken": token}))

    def _part(self, part: Mapping[str, Any]) -> Iterator[WireEvent]:
        """Code the provider ran, and kinds to come, stay as they are."""
        signature = as_text(part.get("thoughtSignature"), "thoughtSignature") or None
        if part.get("functionCall") is not None:  # {} is one: it ends the call that is open
            yield from self._function_call(as_object(part["functionCall"] or {}, "functionCall"), signature)
        elif "text" in part:
            yield from self._text(part, signature)
        elif kind := next((name for name in part if name and isinstance(part[name], dict)), ""):
            yield WholePart(media_of(part, signature) or opaque(kind, part))
        elif signature:
            yield ReasoningSeal(signature)

    def _text(self, part: Mapping[str, Any], signature: str | None) -> Iterator[WireEvent]:
        """A signature belongs to its part: it goes back on a text with that text, on an empty text by itself."""
        if signature and part["text"] and not part.get("thought"):
            yield TextDelta(as_text(part["text"], "text"), signature)
            return
        yield from text_events(ReasoningDelta if part.get("thought") else TextDelta, part["text"], "text")
        if signature:
            yield ReasoningSeal(signature)

    def _function_call(self, call: Mapping[str, Any], signature: str | None) -> Iterator[ToolCallDelta]:
        name = as_text(call.get("name"), "a function's name")
        if name:
            if self.open_call is not None:
                yield self._close_call(self.open_call)
            call_id = as_text(call.get("id"), "a function call's id") or f"call_{self.calls}"
            self.calls += 1
            if not (call.get("willContinue") or call.get("partialArgs")):
                arguments = arguments_text(as_object(call.get("args") or {}, "args"))
                yield ToolCallDelta(self.calls - 1, arguments, call_id, name, signature)
                return
            self.open_call = PartialCall(call_id, name, signature)
        if self.open_call is None:
            raise Malformed("a functionCall without a name continues no call")
        self.open_call.add(as_list(call.get("partialArgs"), "partialArgs"))
        if not call.get("willContinue"):
            yield self._close_call(self.open_call)

    def _close_call(self, call: PartialCall) -> ToolCallDelta:
        self.open_call = None
        return ToolCallDelta(self.calls - 1, call.arguments(), call.id, call.name, call.signature)


def _blocked(feedback: Mapping[str, Any]) -> Failure:
    reason = str(feedback["blockReason"])[:WORD_LIMIT]
    message = as_text(feedback.get("blockReasonMessage"), "blockReasonMessage") or f"prompt blocked: {reason}"
    return Failure(FailureKind.CONTENT_POLICY, scrub(message), code=reason, phase="stream")
