"""The Responses API as OpenAI and xAI speak it, beside the chat completions of the same server.

The stream is named events, each with its `type` and a growing `sequence_number`, from `response.created` to a
terminal event that repeats the whole response; there is no `[DONE]`. OpenAI tells a summary of the thoughts only
to those who ask for it; xAI tells it always, sends the arguments of a call in one piece, and words its errors flat.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from ...events import CitationDelta, FinishReason, Usage
from ...failures import FailureKind
from ...messages import Image, Opaque, ToolCall
from ..chat_completions.render import ChatCompletions, OpenAI
from ..chat_completions.xai import XAI
from ..rules import Rule
from ..server import (
    CREATED,
    AccountRules,
    Answer,
    Frame,
    FrameKind,
    HttpAnswer,
    ParsedRequest,
    SimRequest,
    count_tokens,
    dumps,
    split_tokens,
)
from . import rules

INCOMPLETE: Mapping[FinishReason, str] = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.PAUSE: "other",
    FinishReason.OTHER: "other",
}
"""Why an answer is incomplete; after any other finish it is completed."""

ECHOED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "metadata": {},
}
"""What a response repeats of its request, and what stands there if nothing was said."""


@attrs.frozen
class _Told:
    """What one request asked of the answer's form."""

    response: Mapping[str, Any]  # the fields that repeat the request
    turn: int  # items in its input: the same request gets the same ids, another turn others
    summary: bool
    encrypted: bool
    obfuscated: bool


class _Responses(ChatCompletions):
    """Adds `POST /responses` to a server of chat completions."""

    cipher: ClassVar[str]
    """What its encrypted reasoning begins with."""
    tells_thoughts: ClassVar[bool] = False
    """Whether it does so without being asked."""

    # ---- understanding

    def parse(self, request: SimRequest, terms: AccountRules) -> ParsedRequest:
        if (request.method, request.path) != ("POST", self.base_path + "/responses"):
            return super().parse(request, terms)
        self.admit(request, terms)
        self.require(self._response_rule(), request)
        self.require(rules.in_order(prefill=terms.prefill, cipher=self.cipher), request)
        body = request.body
        included, reasoning = body.get("include") or (), body.get("reasoning") or {}
        told = _Told(
            response={name: body.get(name, default) for name, default in ECHOED.items()},
            turn=len(body["input"]) if isinstance(body["input"], list) else 1,
            summary=self.tells_thoughts or bool(reasoning.get("summary")),
            encrypted="reasoning.encrypted_content" in included,
            obfuscated=(body.get("stream_options") or {}).get("include_obfuscation", True),
        )
        return ParsedRequest(
            what="chat",
            number=request.number,
            model=body["model"],
            stream=bool(body.get("stream")),
            prompt_tokens=count_tokens(body["input"]) + count_tokens(body.get("instructions")),
            options={"told": told},
        )

    # ---- a good answer

    def stream(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]:
        told = asked.options.get("told")
        return super().stream(asked, answer) if told is None else self._events(asked, answer, told)

    def whole(self, asked: ParsedRequest, answer: Answer) -> bytes:
        told = asked.options.get("told")
        if told is None:
            return super().whole(asked, answer)
        output = [*self._items(asked, answer, told)]
        return self._body(self._response(asked, told, answer=answer, output=output))

    def _events(self, asked: ParsedRequest, answer: Answer, told: _Told) -> Iterator[Frame]:
        numbers = itertools.count()

        def frame(kind: FrameKind, name: str, **fields: Any) -> Frame:
            if told.obfuscated and name.endswith(".delta"):
                fields |= self._padding(fields)
            event = {"type": f"response.{name}", "sequence_number": next(numbers), **fields}
            return Frame(kind, _named(event))

        started = self._response(asked, told)
        yield frame(FrameKind.OPENING, "created", response=started)
        yield frame(FrameKind.OPENING, "in_progress", response=started)
        output = [*self._items(asked, answer, told)]
        for index, item in enumerate(output):
            place = {"output_index": index}
            at = {"item_id": item["id"], **place}
            kind = FrameKind.CONTENT if item["type"] == "function_call" else FrameKind.OPENING
            yield frame(kind, "output_item.added", item=_unfilled(item), **place)
            for kind, name, fields in self._pieces(item, answer):
                yield frame(kind, name, **at, **fields)
            own = item["type"] not in ("reasoning", "message", "function_call")
            kind = FrameKind.CONTENT if own else FrameKind.OPENING
            yield frame(kind, "output_item.done", item=item, **place)
        response = self._response(asked, told, answer=answer, output=output)
        yield frame(FrameKind.FINISH, response["status"], response=response)

    def _pieces(
        self, item: Mapping[str, Any], answer: Answer
    ) -> Iterator[tuple[FrameKind, str, dict[str, Any]]]:
        """What comes of an item between its start and its end."""
        match item["type"]:
            case "reasoning":
                for index, part in enumerate(item["summary"]):
                    yield from _part_pieces(
                        "reasoning_summary_text",
                        "text",
                        {"summary_index": index},
                        part,
                        split_tokens(part["text"]),
                    )
            case "message":
                part = item["content"][0]
                what, field = ("refusal", "refusal") if answer.refusal else ("output_text", "text")
                yield from _part_pieces(what, field, {"content_index": 0}, part, answer.tokens)
            case "function_call":
                arguments = item["arguments"]
                for piece in self._argument_pieces(arguments):
                    yield FrameKind.CONTENT, "function_call_arguments.delta", {"delta": piece}
                yield FrameKind.OPENING, "function_call_arguments.done", {"arguments": arguments}

    def _argument_pieces(self, arguments: str) -> tuple[str, ...]:
        return split_tokens(arguments)

    def _items(self, asked: ParsedRequest, answer: Answer, told: _Told) -> Iterator[dict[str, Any]]:
        if answer.reasoning:
            yield self._reasoning_item(answer, told)
        for part in answer.parts:
            yield _own_item(part, told.turn)
        if answer.tokens or not (answer.tool_calls or answer.reasoning or answer.parts):
            yield self._message_item(asked, answer)
        for index, call in enumerate(answer.tool_calls):
            yield self._call_item(asked, index, call)

    def _reasoning_item(self, answer: Answer, told: _Told) -> dict[str, Any]:
        text = answer.reasoning_text
        digest = hashlib.blake2b(f"{told.turn} {text}".encode(), digest_size=24).digest()
        parts = text.split("\n\n")  # between two of them the wire has nothing
        shown = (parts if all(parts) else [text]) if told.summary else []
        item: dict[str, Any] = {
            "id": f"rs_{digest.hex()[:32]}",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": part} for part in shown],
        }
        if told.encrypted:
            item["encrypted_content"] = self.cipher + base64.b64encode(digest).decode()
        return item

    def _message_item(self, asked: ParsedRequest, answer: Answer) -> dict[str, Any]:
        said: dict[str, Any] = {"type": "refusal", "refusal": answer.text}
        if not answer.refusal:
            annotations = [_annotation(citation) for citation in answer.citations]
            said = {"type": "output_text", "annotations": annotations, "logprobs": [], "text": answer.text}
        own = {"id": f"msg_sim{asked.number:06}", "type": "message", "status": "completed"}
        return {**own, "content": [said], "role": "assistant"}

    def _call_item(self, asked: ParsedRequest, index: int, call: ToolCall) -> dict[str, Any]:
        own = {"id": f"fc_sim{asked.number:06}_{index}", "type": "function_call", "status": "completed"}
        return {**own, "arguments": call.arguments, "call_id": call.id, "name": call.name}

    def _response(
        self,
        asked: ParsedRequest,
        told: _Told,
        *,
        answer: Answer | None = None,
        output: list[dict[str, Any]] | None = None,
        error: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The response as it is at its start, at the end of an answer, or when it has failed."""
        reason = INCOMPLETE.get(answer.finish) if answer else None
        ended = "failed" if error else "in_progress" if answer is None else "completed"
        return {
            "id": f"resp_sim{asked.number:06}",
            "object": "response",
            "created_at": CREATED,
            "status": "incomplete" if reason else ended,
            "error": error,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": asked.model,
            **told.response,
            "output": output or [],
            "usage": self._response_usage(answer.usage) if answer else None,
        }

    def _response_usage(self, usage: Usage) -> dict[str, Any]:
        return {
            "input_tokens": usage.input_tokens or 0,
            "input_tokens_details": {"cached_tokens": usage.cached_input_tokens or 0},
            "output_tokens": usage.output_tokens or 0,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
            "total_tokens": usage.total_tokens or 0,
        }

    def _padding(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    @abstractmethod
    def _response_rule(self) -> Rule: ...

    @abstractmethod
    def _body(self, response: Mapping[str, Any]) -> bytes: ...

    # ---- a bad one

    def _failure(
        self, kind: FailureKind, asked: ParsedRequest, status: int | None, wait: float | None
    ) -> HttpAnswer:
        if kind is FailureKind.MODEL_NOT_FOUND and "told" in asked.options:
            status = status or 400  # where chat completions have a 404
        return super()._failure(kind, asked, status, wait)

    def failure_frame(self, kind: FailureKind, asked: ParsedRequest, wait: float | None) -> bytes:
        told = asked.options.get("told")
        if told is None:
            return super().failure_frame(kind, asked, wait)
        return self._failure_events(self.faults[self.inside(kind)].body(asked.model, wait), asked, told)

    @abstractmethod
    def _failure_events(self, body: Mapping[str, Any], asked: ParsedRequest, told: _Told) -> bytes: ...

    def garbled(self, asked: ParsedRequest) -> bytes:
        if "told" not in asked.options:
            return super().garbled(asked)
        return b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","del\n\n'


class OpenAIWithResponses(_Responses, OpenAI):
    cipher = "gAAAAAB"

    def _response_rule(self) -> Rule:
        return rules.OPENAI

    def _body(self, response: Mapping[str, Any]) -> bytes:
        return dumps(response, indent=2).encode() + b"\n"

    def _padding(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        noise = hashlib.blake2b(repr(fields).encode(), digest_size=8).hexdigest()
        return {"obfuscation": noise[: int(noise[0], 16) + 1]}

    def _failure_events(self, body: Mapping[str, Any], asked: ParsedRequest, told: _Told) -> bytes:
        """Said twice: an event with the fields in an inner `error`, and a response that has failed."""
        error = body["error"]
        brief = {"code": error["code"] or error["type"], "message": error["message"]}
        failed = self._response(asked, told, error=brief)
        events = {"type": "error", "error": error}, {"type": "response.failed", "response": failed}
        return b"".join(_named({**event, "sequence_number": 2 + n}) for n, event in enumerate(events))


class XAIWithResponses(_Responses, XAI):
    cipher = "xCAI"
    tells_thoughts = True

    def _response_rule(self) -> Rule:
        return rules.XAI

    def _body(self, response: Mapping[str, Any]) -> bytes:
        return dumps(response).encode()

    def _argument_pieces(self, arguments: str) -> tuple[str, ...]:
        return (arguments,) if arguments else ()

    def _failure_events(self, body: Mapping[str, Any], asked: ParsedRequest, told: _Told) -> bytes:
        flat = {"type": "error", "code": body["code"], "message": body["error"], "param": None}
        return _named({**flat, "sequence_number": 2})


def _own_item(part: Image | Opaque, turn: int) -> dict[str, Any]:
    """What the server did itself: an item as the script has it, or one for an image."""
    if isinstance(part, Opaque):
        return {"id": f"own_sim_{turn}", "type": part.type, **part.parsed()}
    kind = (part.media_type or "image/png").removeprefix("image/")
    result = base64.b64encode(part.data or b"").decode()
    own = {"id": f"ig_sim_{turn}", "type": "image_generation_call", "status": "completed"}
    return {**own, "output_format": kind, "result": result}


def _named(event: Mapping[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {dumps(event)}\n\n".encode()


def _unfilled(item: Mapping[str, Any]) -> dict[str, Any]:
    """An item as it is announced: its kind and names, nothing of what it says."""
    begun = {"status": "in_progress"} if "status" in item else {}
    empty: dict[str, Any] = {"content": [], "summary": [], "arguments": "", "result": None}
    return {name: empty.get(name, value) for name, value in item.items()} | begun


def _part_pieces(
    what: str, field: str, at: Mapping[str, int], part: Mapping[str, Any], tokens: Sequence[str]
) -> Iterator[tuple[FrameKind, str, dict[str, Any]]]:
    """One part of a message or a summary: announced, told, cited, told again, ended."""
    around = "reasoning_summary_part" if what == "reasoning_summary_text" else "content_part"
    annotations = part.get("annotations") or []
    bare = {**part, field: "", **({"annotations": []} if "annotations" in part else {})}
    yield FrameKind.OPENING, f"{around}.added", {**at, "part": bare}
    for token in tokens:
        yield FrameKind.CONTENT, f"{what}.delta", {**at, "delta": token}
    for index, annotation in enumerate(annotations):
        fields = {**at, "annotation_index": index, "annotation": annotation}
        yield FrameKind.CONTENT, f"{what}.annotation.added", fields
    yield FrameKind.OPENING, f"{what}.done", {**at, field: part[field]}
    yield FrameKind.OPENING, f"{around}.done", {**at, "part": part}


def _annotation(citation: CitationDelta) -> dict[str, Any]:
    source = citation.sources[0] if citation.sources else ""
    where = {"start_index": citation.start, "end_index": citation.end}
    return {"type": "url_citation", **where, "title": citation.text, "url": source}
