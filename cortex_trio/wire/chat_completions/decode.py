"""The stream of a chat completion, from its first byte to its end.

    stream = *( comment | chunk ) "[DONE]"
    chunk  = { choices: [ { index, delta, finish_reason?, usage?, error? } ], usage?, error?,
               x_groq?: { usage?, error? } }

`choices` may be empty, and usage may come on any chunk (OpenAI: after the finish; Groq: up to three times; Moonshot:
inside the choice). The finish is held back until `[DONE]`, or the end of the body where a server leaves that out. An
answer is choice 0. A whole answer is read as one chunk whose `message` is its only delta.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...events import Finished, FinishReason, Usage, UsageUpdate, WireEvent
from ...failures import Failure, FailureKind, classify_payload
from ..codec import malformed, truncated
from ..finish import first_serious, reason_of
from ..framing import TooLarge
from ..logprobs import logprob_events
from ..payload import (
    Malformed,
    as_list,
    as_object,
    as_word,
    is_above_0,
    is_json,
    load_object,
    response_started,
)
from ..sse import SseEvent, SseReader
from ..unframed_errors import UnframedErrors, error_of, is_error
from ..usage import read_usage
from .delta import DeltaReader, has_only_reasoning
from .logprobs import tokens_of

Json = dict[str, Any]

FINISH_REASONS: Mapping[str, FinishReason] = {}
"""None of its own: all its reasons are in `finish.COMMON`."""

NO_REASON = ("", "null", "None")
"""What servers send in a chunk that is not the last, in place of null."""

FAILED_REASONS: Mapping[str, FailureKind] = {
    "error": FailureKind.SERVER,  # OpenRouter
    "abort": FailureKind.SERVER,  # vLLM
    "aborted": FailureKind.SERVER,  # DeepSeek
    "network_error": FailureKind.SERVER,  # z.ai
    "insufficient_system_resource": FailureKind.OVERLOADED,  # DeepSeek
}
"""Finish reasons of an answer that broke off."""


class ChatCompletionsDecoder:
    """Decodes one answer.

    `usage_excludes_reasoning` and `finish_optional` are those of `ChatCompletions`.
    """

    def __init__(self, usage_excludes_reasoning: bool, finish_optional: bool) -> None:
        self._usage_excludes_reasoning = usage_excludes_reasoning
        self._finish_optional = finish_optional
        self._sse = SseReader(on_unknown_line=self._on_unknown_line)
        self._unframed = UnframedErrors()
        self._deltas = DeltaReader()
        self._events: list[WireEvent] = []  # what the running call will return
        self._usage = Usage()
        self._named = False  # the id or the model of the answer came
        self._raw_reason = ""  # empty until a finish_reason was seen
        self._done = False
        self._others = False  # a choice above 0 came

    @property
    def done(self) -> bool:
        return self._done

    def feed(self, data: bytes) -> list[WireEvent]:
        events = self._events = []
        if self._done:
            return events
        try:
            for event in self._sse.feed(data):
                if not self._done:  # a line outside the grammar may have ended it
                    self._read(event)
                if self._done:
                    break
        except TooLarge as error:
            self._end(malformed(str(error)))
        return events

    def finish(self) -> list[WireEvent]:
        events = self._events = []
        for event in () if self._done else self._sse.unended():
            if not self._done and (event.data.startswith("[DONE]") or is_json(event.data)):
                self._read(event)
        if not self._done and (failure := self._unframed.end()):
            self._end(failure)
        self._finish(marked=False)
        return events

    def read_whole(self, body: bytes) -> list[WireEvent]:
        """Read a whole answer in place of a stream."""
        try:
            reply = load_object(body)
            if not reply.get("choices") and not is_error(reply):
                raise Malformed("an answer without choices")
            self._read_chunk(reply, "message")
            self._deltas.close(self._events)
        except Malformed as error:
            self._end(malformed(str(error)))
        # A whole body needs no finish_reason to be whole.
        known = bool(self._raw_reason) or self._finish_optional
        self._end(Finished(self._reason() if known else FinishReason.OTHER, self._raw_reason or None))
        return self._events

    def _read(self, event: SseEvent) -> None:
        data = event.data
        if data.startswith("[DONE]"):
            self._finish(marked=True)
            return
        try:
            chunk = load_object(data)
            if event.event == "error":  # Groq; some proxies leave out the key "error"
                self._end(classify_payload(chunk, phase="stream"))
            else:
                self._read_chunk(chunk, "delta")
        except Malformed as error:
            ours = event.event in ("message", "error")  # an event unknown to us may hold anything
            if ours and data.strip():
                self._end(malformed(str(error)))

    def _read_chunk(self, chunk: Json, field: str) -> None:
        usage, error = chunk.get("usage"), error_of(chunk)
        choices = [as_object(item, "a choice") for item in as_list(chunk.get("choices"), "choices")]
        if not self._named and choices:  # a chunk before the first choice has empty names (Azure)
            self._events += (started := response_started(chunk.get("id"), chunk.get("model")))
            self._named = bool(started)
        for choice in _of_whole(choices) if field == "message" else self._of_chunk(choices):
            self._read_choice(choice, field)
            usage, error = usage or choice.get("usage"), error or error_of(choice)
        if not error and (chunk.get("object") == "error" or (not chunk.get("choices") and is_error(chunk))):
            error = chunk  # in place of a chunk: older vLLM, gateways that lost their upstream
        if groq := chunk.get("x_groq"):
            beside = as_object(groq, "x_groq")
            usage, error = usage or beside.get("usage"), error or error_of(beside)
        if usage:
            self._read_usage(as_object(usage, "usage"))
        if citations := chunk.get("citations"):
            # The pages a search found: xAI at the end, Perplexity in every chunk.
            self._deltas.read_pages(citations, self._events)
        if error:
            self._end(classify_payload({**chunk, "error": error}, phase="stream"))
        elif self._raw_reason in FAILED_REASONS:
            message = f"finish_reason {self._raw_reason}"
            self._end(Failure(FAILED_REASONS[self._raw_reason], message, phase="stream"))

    def _of_chunk(self, choices: list[Json]) -> list[Json]:
        """The choices 0 of a chunk, which may be there twice (Dynamo).

        An index that is not a number counts as 0 where no choice above 0 came.
        """
        self._others = self._others or any(is_above_0(choice.get("index")) for choice in choices)
        return [choice for choice in choices if _is_0(choice.get("index"), only=not self._others)]

    def _read_choice(self, choice: Json, field: str) -> None:
        if logprobs := choice.get("logprobs"):
            is_reasoning = has_only_reasoning(choice.get(field))
            self._events += logprob_events(tokens_of(logprobs, is_reasoning=is_reasoning))
        if delta := choice.get(field):
            self._deltas.read(as_object(delta, field), self._events, whole=field == "message")
        elif "message" in choice and field not in choice and not self._deltas.is_answer:
            # One chunk that holds a whole message: a server that does not really stream.
            self._deltas.read(as_object(choice["message"] or {}, "message"), self._events, whole=True)
        if reason := choice.get("finish_reason"):
            self._note_reason(as_word(reason, "finish_reason"))

    def _note_reason(self, raw: str) -> None:
        if raw in FAILED_REASONS:
            self._raw_reason = raw
        elif raw not in NO_REASON:
            self._raw_reason = first_serious(self._raw_reason, raw, FINISH_REASONS)
            self._deltas.calls.release(self._events)

    def _read_usage(self, usage: Json) -> None:
        seen = read_usage(usage, excludes_reasoning=self._usage_excludes_reasoning)
        if seen != self._usage:
            self._usage = seen
            self._events.append(UsageUpdate(seen))

    def _on_unknown_line(self, line: str) -> None:
        if failure := self._unframed.add(line):
            self._end(failure)

    def _end(self, last: Finished | Failure) -> None:
        if not self._done:  # an unframed error may be followed by an event that is too large
            self._events.append(last)
            self._done = True

    def _finish(self, *, marked: bool) -> None:
        """The stream is over, `marked` by [DONE] or not.

        Without any finish_reason the answer was cut. But some products never send one (Snowflake, NIM, Novita), so
        where that may be, the marker behind text or whole calls is enough.
        """
        if self._done:
            return
        whole = bool(self._raw_reason) or (marked and self._finish_optional and self._deltas.is_answer)
        try:
            if whole:
                self._deltas.close(self._events)
        except Malformed as error:
            self._end(malformed(str(error)))
        self._end(Finished(self._reason(), self._raw_reason or None) if whole else truncated())

    def _reason(self) -> FinishReason:
        """OpenAI sends "stop" after a call that tool_choice demanded."""
        calls, refused = self._deltas.calls.any, self._deltas.refused
        return reason_of(self._raw_reason or "stop", FINISH_REASONS, calls=calls, refused=refused)


def _of_whole(choices: list[Json]) -> list[Json]:
    """The first choice 0, or the only one whatever its number, and what another choice adds to it.

    An answer may have its calls in another choice than its text: without an index (GitHub Copilot), or with the next
    one (LiteLLM). Two with the same kind of content are two answers.
    """
    ours = [choice for choice in choices if not is_above_0(choice.get("index"))][:1] or choices[:1]
    for choice in choices:
        adds_calls = _has(choice, "tool_calls") and not _has(choice, "content")
        if adds_calls and not any(_has(mine, "tool_calls") for mine in ours):
            ours.append(choice)
    return ours


def _is_0(index: object, *, only: bool) -> bool:
    return not is_above_0(index) if type(index) in (int, float) else only


def _has(choice: Json, field: str) -> bool:
    return bool(as_object(choice.get("message") or {}, "message").get(field))
