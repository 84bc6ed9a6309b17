"""generateContent as Gemini speaks it: whole partial responses as `data:` lines with CRLF, or one long JSON array.

There is no terminal marker: the finishReason stands on the last response and the body ends. Every response carries
usage so far. Calls come whole. An error in mid-stream is bare JSON, framed by nothing; a prompt that was blocked is
a 200 with `promptFeedback` and no candidate.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from ...events import FinishReason, Usage
from ...failures import FailureKind
from ...failures import FailureKind as K
from ...messages import Opaque, ToolCall
from ..rules import Illegal, Problem
from ..server import (
    AccountRules,
    Answer,
    Frame,
    FrameKind,
    HttpAnswer,
    ParsedRequest,
    Rejected,
    SimRequest,
    count_tokens,
    dumps,
    json_object,
    vector_of,
)
from ..server_base import BaseSpeaker
from . import rules
from .errors import FAULTS, UNREGISTERED, Fault, blocked, status_body

FINISH: Mapping[FinishReason, str] = {
    FinishReason.STOP: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.TOOL_CALLS: "STOP",
    FinishReason.CONTENT_FILTER: "SAFETY",
    FinishReason.REFUSAL: "STOP",
    FinishReason.PAUSE: "STOP",
    FinishReason.OTHER: "OTHER",
}
SIGNATURE = "CiQBc2ltdWxhdGVkIHRob3VnaHQgc2lnbmF0dXJl"
"""On the first call after thinking, as the real one: opaque, and wanted back."""


class Gemini(BaseSpeaker):
    base_path = "/v1beta"
    needs_key = True
    spoken = frozenset(FAULTS) | {K.CONTENT_POLICY}

    # ---- understanding

    def key_of(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
        return headers.get("x-goog-api-key") or query.get("key") or None

    def parse(self, request: SimRequest, terms: AccountRules) -> ParsedRequest:
        self.admit(request, terms)
        path = request.path.removeprefix("/v1beta").removeprefix("/v1")
        if (request.method, path) == ("GET", "/models"):
            return ParsedRequest(what="models", number=request.number)
        if request.method == "GET" and path.startswith("/models/"):
            return ParsedRequest(what="model", number=request.number, model=path.removeprefix("/models/"))
        model, _, method = path.removeprefix("/").rpartition(":")
        model = model.removeprefix("models/")
        match request.method, method:
            case "POST", ("generateContent" | "streamGenerateContent") if model:
                self.require(rules.GENERATE, request)
                self.require(rules.in_order(model, prefill=terms.prefill), request)
                return self._chat(request, model, stream=method == "streamGenerateContent")
            case "POST", "countTokens" if model:
                self.require(rules.COUNT, request)
                return attrs.evolve(self._chat(request, model, stream=False), what="count")
            case "POST", "batchEmbedContents" if model:
                self.require(rules.BATCH_EMBED, request)
                return self._embed(request, model, request.body["requests"])
            case "POST", "embedContent" if model:
                self.require(rules.EMBED, request)
                return self._embed(request, model, None)
            case _:
                raise Rejected(_answer(404, b""))

    def _chat(self, request: SimRequest, model: str, *, stream: bool) -> ParsedRequest:
        body = rules.camel(request.body)
        return ParsedRequest(
            what="chat",
            number=request.number,
            model=model,
            stream=stream,
            prompt_tokens=count_tokens(body.get("systemInstruction")) + count_tokens(body["contents"]),
            options={"sse": request.query.get("alt") == "sse"},
        )

    def _embed(self, request: SimRequest, model: str, batch: list[dict[str, Any]] | None) -> ParsedRequest:
        items = [request.body] if batch is None else batch
        texts = ["".join(part["text"] for part in item["content"]["parts"]) for item in items]
        return ParsedRequest(
            what="embed",
            number=request.number,
            model=model,
            texts=texts,
            dimensions=items[0].get("outputDimensionality"),
            prompt_tokens=count_tokens(texts),
            options={"batch": batch is not None},
        )

    def _no_key(self, request: SimRequest) -> HttpAnswer:
        return _error(UNREGISTERED)

    def _no_json(self, request: SimRequest) -> HttpAnswer:
        return _error(
            Fault(400, "INVALID_ARGUMENT", "Invalid JSON payload received. Unexpected end of string.")
        )

    def _illegal(self, illegal: Illegal, request: SimRequest) -> HttpAnswer:
        return _error(Fault(400, "INVALID_ARGUMENT", _complaint(illegal)))

    # ---- a good answer

    def headers(self, asked: ParsedRequest) -> Mapping[str, str]:
        common = {"vary": "Origin, Referer, X-Origin", "server": "scaffolding on HTTPServer2"}
        if asked.stream and asked.options.get("sse"):
            return {"content-type": "text/event-stream", "content-disposition": "attachment", **common}
        return {"content-type": "application/json; charset=UTF-8", **common}

    def stream(self, asked: ParsedRequest, answer: Answer) -> Iterator[Frame]:
        """The frames of either form; in the array the first opens it and a last one closes it."""
        separator = "["
        for kind, response in self._responses(asked, answer):
            if asked.options["sse"]:
                data = _event(response)
            else:
                data = f"{separator}{_pretty(response)}".encode()
                separator = ",\n"
            yield Frame(kind, data)
        if not asked.options["sse"]:
            yield Frame(FrameKind.TERMINAL, b"]")

    def _responses(self, asked: ParsedRequest, answer: Answer) -> Iterator[tuple[FrameKind, dict[str, Any]]]:
        thought = said = 0
        for token in answer.reasoning:
            thought += 1
            yield self._part(asked, {"text": token, "thought": True}, answer, thought, said)
        words = ({"text": token} for token in answer.tokens)
        for part in itertools.chain(_own_parts(answer), words, _calls(answer)):
            said += 1
            yield self._part(asked, part, answer, thought, said)
        yield FrameKind.FINISH, self._last(asked, answer, [{"text": ""}])

    def _part(
        self, asked: ParsedRequest, part: Mapping[str, Any], answer: Answer, thought: int, said: int
    ) -> tuple[FrameKind, dict[str, Any]]:
        content = {"parts": [part], "role": "model"}
        usage = attrs.evolve(
            answer.usage, output_tokens=thought + said, reasoning_tokens=thought, total_tokens=None
        )
        return FrameKind.CONTENT, self._response(asked, {"content": content, "index": 0}, usage)

    def _last(self, asked: ParsedRequest, answer: Answer, parts: list[Any]) -> dict[str, Any]:
        candidate: dict[str, Any] = {
            "content": {"parts": parts, "role": "model"},
            "finishReason": FINISH[answer.finish],
            "index": 0,
        }
        if answer.tool_calls:
            candidate["finishMessage"] = "Model generated function call(s)."
        if answer.citations:
            candidate["groundingMetadata"] = _grounding(answer)
        return self._response(asked, candidate, answer.usage)

    def _response(self, asked: ParsedRequest, candidate: Mapping[str, Any], usage: Usage) -> dict[str, Any]:
        return {
            "candidates": [candidate],
            "usageMetadata": _usage(usage),
            "modelVersion": asked.model,
            "responseId": f"sim{asked.number:06}",
        }

    def whole(self, asked: ParsedRequest, answer: Answer) -> bytes:
        parts: list[Any] = []
        if answer.reasoning:
            parts.append({"text": answer.reasoning_text, "thought": True})
        parts.extend(_own_parts(answer))
        if answer.tokens:
            parts.append({"text": answer.text})
        parts.extend(_calls(answer))
        return _pretty(self._last(asked, answer, parts)).encode()

    def listing(self, asked: ParsedRequest, models: Sequence[str]) -> bytes:
        match asked.what:
            case "model":
                return _pretty(_entry(asked.model)).encode()
            case "count":
                counted = [{"modality": "TEXT", "tokenCount": asked.prompt_tokens}]
                count = {"totalTokens": asked.prompt_tokens, "promptTokensDetails": counted}
                return _pretty(count).encode()
            case _:
                return _pretty({"models": [_entry(name) for name in models]}).encode()

    def embeddings(self, asked: ParsedRequest) -> bytes:
        vectors = [{"values": vector_of(text, asked.dimensions)} for text in asked.texts]
        made = {"embeddings": vectors} if asked.options["batch"] else {"embedding": vectors[0]}
        return _pretty({**made, "usageMetadata": {"promptTokenCount": asked.prompt_tokens}}).encode()

    # ---- a bad one

    def _failure(
        self, kind: FailureKind, asked: ParsedRequest, status: int | None, wait: float | None
    ) -> HttpAnswer:
        if kind is K.CONTENT_POLICY:
            return self._blocked(asked, status)
        return _error(FAULTS[kind], asked.model, status, wait)

    def _blocked(self, asked: ParsedRequest, status: int | None) -> HttpAnswer:
        if asked.stream and asked.options["sse"]:
            return HttpAnswer(status=status or 200, headers=self.headers(asked), body=_event(blocked(asked)))
        pretty = _pretty(blocked(asked))
        body = f"[{pretty}]" if asked.stream else pretty
        return HttpAnswer(status=status or 200, headers=self.headers(asked), body=body.encode())

    def failure_frame(self, kind: FailureKind, asked: ParsedRequest, wait: float | None) -> bytes:
        """Bare JSON in SSE, and the last element in an array; a blocked prompt is a response like any other."""
        inner = self.inside(kind)
        if inner is K.CONTENT_POLICY and asked.options["sse"]:
            return _event(blocked(asked))
        fault = FAULTS.get(inner, FAULTS[K.SERVER])
        pretty = _pretty(
            blocked(asked) if inner is K.CONTENT_POLICY else status_body(fault, asked.model, None, wait)
        )
        return pretty.encode() if asked.options["sse"] else f",\n{pretty}]".encode()

    def garbled(self, asked: ParsedRequest) -> bytes:
        if asked.options["sse"]:
            return b'data: {"candidates": [{"content": {"parts": [{"te\r\n\r\n'
        return b',\n{"candidates": [}\n'

    def ping(self, asked: ParsedRequest) -> bytes:
        return b": keepalive\r\n\r\n" if asked.options["sse"] else b"\n"


# ------------------------------------------------------------------ pieces


def _entry(model: str) -> dict[str, Any]:
    return {
        "name": f"models/{model}",
        "version": "001",
        "displayName": model,
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def _event(response: object) -> bytes:
    return f"data: {dumps(response, spaced=True, escape_html=True)}\r\n\r\n".encode()


def _pretty(value: object) -> str:
    return dumps(value, indent=2, escape_html=True) + "\n"


def _own_parts(answer: Answer) -> Iterator[dict[str, Any]]:
    """Code the provider ran itself and its result, and images."""
    for part in answer.parts:
        if isinstance(part, Opaque):
            yield part.parsed()
        elif part.data is not None:
            inline = {"mimeType": part.media_type, "data": base64.b64encode(part.data).decode()}
            yield {"inlineData": inline, **({"thoughtSignature": part.signature} if part.signature else {})}
        else:
            yield {"fileData": {"fileUri": part.url}}


def _grounding(answer: Answer) -> dict[str, Any]:
    """Every source once; a stretch of the text counts bytes, and leaves out where it starts if that is 0."""
    pages = list(dict.fromkeys(source for one in answer.citations for source in one.sources))
    supports = []
    for one in answer.citations:
        start, end = (len(answer.text[:place].encode()) if place else None for place in (one.start, one.end))
        segment = {"startIndex": start, "endIndex": end, "text": one.text}
        places = [pages.index(source) for source in one.sources]
        supports.append(
            {
                "segment": {name: value for name, value in segment.items() if value is not None},
                "groundingChunkIndices": places,
            }
        )
    chunks = [{"web": {"uri": page, "title": page}} for page in pages]
    return {"groundingChunks": chunks, "groundingSupports": supports}


def _calls(answer: Answer) -> Iterator[dict[str, Any]]:
    for index, call in enumerate(answer.tool_calls):
        signature = call.signature or (SIGNATURE if index == 0 and answer.reasoning else None)
        yield {
            "functionCall": _function_call(call),
            **({"thoughtSignature": signature} if signature else {}),
        }


def _function_call(call: ToolCall) -> dict[str, Any]:
    said = {"name": call.name, "args": json_object(call.arguments)}
    return {**said, "id": call.id} if call.id else said


def _usage(usage: Usage) -> dict[str, Any]:
    """Counts of zero are left out; candidates and thoughts are counted apart."""
    prompt, thoughts = usage.input_tokens or 0, usage.reasoning_tokens or 0
    counts = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": max(0, (usage.output_tokens or 0) - thoughts),
        "totalTokenCount": usage.total_tokens or 0,
        "cachedContentTokenCount": usage.cached_input_tokens or 0,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        "thoughtsTokenCount": thoughts,
    }
    return {name: count for name, count in counts.items() if count}


def _error(fault: Fault, model: str = "", status: int | None = None, wait: float | None = None) -> HttpAnswer:
    body = _pretty(status_body(fault, model, status, wait)).encode()
    return _answer(status or fault.status, body)


def _answer(status: int, body: bytes) -> HttpAnswer:
    headers = {
        "content-type": "application/json; charset=UTF-8",
        "vary": "Origin, X-Origin, Referer",
        "server": "scaffolding on HTTPServer2",
    }
    return HttpAnswer(status=status, headers=headers, body=body)


def _complaint(illegal: Illegal) -> str:
    match illegal.problem:
        case Problem.UNKNOWN:
            parent = illegal.brackets.rpartition(".")[0]
            place = f" at '{parent}'" if parent else ""
            return f'Invalid JSON payload received. Unknown name "{illegal.where[-1]}"{place}: Cannot find field.'
        case Problem.MISSING:
            return f"* GenerateContentRequest.{illegal.brackets}: {illegal.where[-1]} is not specified\n"
        case Problem.TYPE:
            return f"Invalid value at '{illegal.brackets}' ({illegal.expected}), {dumps(illegal.got)[:60]}"
        case Problem.VALUE:
            return f"* GenerateContentRequest.{illegal.brackets}: must be {illegal.expected}\n"
        case Problem.ORDER:
            return illegal.expected
