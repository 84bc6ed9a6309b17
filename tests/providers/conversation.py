"""Random conversations that wander from provider to provider, and what must be found of them in a request body.

Everything said carries a mark of its own, such as ⟦text 17⟧. A body is legal if the simulator's own rules, as strict
as the provider, accept it; nothing is lost if every mark is in it once, and nothing leaks if no other is.
"""

import base64
import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from cortex_trio.events import ReplyBuilder
from cortex_trio.messages import (
    ChatRequest,
    Document,
    Image,
    Message,
    Opaque,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from cortex_trio.providers import PROVIDERS, Provider
from cortex_trio.simulator import Behaviour
from cortex_trio.simulator.account import AccountRules
from cortex_trio.simulator.request import SimRequest
from cortex_trio.simulator.servers import SERVERS, Exchange
from cortex_trio.wire.codec import HttpRequest

MODELS = {
    name: (*provider.default_models[:1], "another-model") if provider.default_models else ("m-1", "m-2")
    for name, provider in PROVIDERS.items()
}
"""Two for each: what one model thought is foreign to the other."""

TOOLS = (
    Tool("weather", "Tells it", {"type": "object", "properties": {"mark": {"type": "string"}}}),
    Tool("search", "", {"type": "object", "properties": {}}),
    Tool("now", "The time", {}),
)

IDS = (
    "call_{n}",
    "call_0",  # what every answer from a wire without ids begins with
    "toolu_01{n}AbCdEfGhIjKlMnOpQr",
    "functions.search:{n}",  # Kimi
    "chatcmpl-tool-{n}-0123456789abcdef0123456789abcdef",  # vLLM: longer than OpenAI takes
    "a{n}",
    "fc_{n}|rs_{n}",
    "weather_{n}-ü",
)

MARK = re.compile(r"⟦(\w+) (\d+)⟧")


@attrs.frozen
class Model:
    """Who answers: a provider and one of its models."""

    name: str
    model: str

    @property
    def kind(self) -> Provider:
        return PROVIDERS[self.name]

    @property
    def origin(self) -> str:
        return f"{self.name}/{self.model}"

    def encode(self, request: ChatRequest) -> HttpRequest:
        """Raises Unsupported."""
        return self.kind.dialect.encode(request, self.name, self.model)

    def accept(self, http: HttpRequest) -> Exchange:
        """The request as the provider accepts it; raises Rejected for an illegal one."""
        return SERVERS[self.name].parse(self.received(http), AccountRules())

    def received(self, http: HttpRequest) -> SimRequest:
        """The request as it arrives."""
        path, _, query = http.path.partition("?")
        key = self.kind.auth.prefix + "sk-sim"
        headers = {**self.kind.headers, **http.headers, self.kind.auth.header: key}
        return SimRequest(
            when=0.0,
            method=http.method,
            path=SERVERS[self.name].base_path + path,
            query=dict(pair.split("=") for pair in query.split("&") if pair),
            body=json.loads(http.body or b""),
            key="sk-sim",
            headers=headers,
        )

    def answer(self, asked: Exchange, behaviour: Behaviour) -> Message:
        """What comes back when the simulated provider sends this answer, decoded."""
        decoder = self.kind.dialect.decoder()
        builder = ReplyBuilder(self.origin)
        for frame in asked.stream(asked.answer(behaviour)).frames():
            builder.add_all(decoder.feed(frame.data))
        builder.add_all(decoder.finish())
        assert builder.finish is not None, "a good answer is whole"
        return builder.message()

    def whole_answer(self, asked: Exchange, behaviour: Behaviour) -> Message:
        """The same, not streamed."""
        builder = ReplyBuilder(self.origin)
        builder.add_all(self.kind.dialect.decode_reply(asked.whole(asked.answer(behaviour))))
        return builder.message()


MODELS_OF = {name: tuple(Model(name, model) for model in models) for name, models in MODELS.items()}


class Talk:
    """One conversation, growing turn by turn; `chance` decides everything."""

    def __init__(self, chance: random.Random, *, url_images: bool) -> None:
        self.chance = chance
        self.messages: list[Message] = []
        self._url_images = url_images
        self._count = 0
        for _ in range(chance.choice((0, 1, 1, 2))):
            self.messages.append(Message("system", self._mark("text")))

    def ask(self) -> None:
        """The user speaks, after another word from the system now and then."""
        if self.messages and self.chance.random() < 0.1:
            self.messages.append(Message("system", self._mark("text")))
        parts = [self._user_part() for _ in range(self.chance.choice((1, 1, 2, 4)))]
        content: Any = parts[0].text if len(parts) == 1 and isinstance(parts[0], Text) else tuple(parts)
        self.messages.append(Message("user", content))

    def script(self, name: str) -> Behaviour:
        """What the provider shall answer: text, thoughts, parts, calls in any mixture, but something."""
        calls = tuple(self._call() for _ in range(self.chance.choice((0, 0, 1, 2, 3))))
        text = self._mark("text") if not calls or self.chance.random() < 0.5 else ""
        thought = self._mark("thought") if self.chance.random() < 0.4 else ""
        parts = self._own_parts(name) if self.chance.random() < 0.3 else ()
        return Behaviour(text=text, reasoning=thought, parts=parts, tool_calls=calls)

    def hear(self, message: Message) -> None:
        """An answer, and the results of the calls it made: one message for each, or one for all."""
        self.messages.append(message)
        calls = [part for part in message.parts if isinstance(part, ToolCall)]
        results = [self._result(call) for call in calls]
        if self.chance.random() < 0.5:
            self.messages += [Message("tool", (result,)) for result in results]
        elif results:
            self.messages.append(Message("tool", tuple(results)))

    @property
    def waits_for_the_model(self) -> bool:
        return bool(self.messages) and self.messages[-1].role == "tool"

    def _own_parts(self, name: str) -> tuple[Image | Opaque, ...]:
        """What only this provider says: a search of its own, code it ran, a picture."""
        match name:
            case "anthropic":
                call_id = f"srvtoolu_{self._count}"
                query, found = (
                    self._mark("query"),
                    [{"type": "web_search_result", "title": self._mark("found")}],
                )
                return (
                    _opaque(type="server_tool_use", id=call_id, name="web_search", input={"query": query}),
                    _opaque(type="web_search_tool_result", tool_use_id=call_id, content=found),
                )
            case "gemini":
                return (
                    _opaque(executableCode={"language": "PYTHON", "code": self._mark("code")}),
                    _opaque(codeExecutionResult={"outcome": "OUTCOME_OK", "output": self._mark("output")}),
                    Image(data=self._mark("image").encode(), media_type="image/png"),
                )
            case "openai_responses" | "xai_responses":
                action = {"type": "search", "query": self._mark("query")}
                search = _opaque(type="web_search_call", id=f"ws_{self._count}", action=action)
                return (search, Image(data=self._mark("image").encode(), media_type="image/png"))
            case _:
                return ()

    def _user_part(self) -> Text | Image | Document:
        match self.chance.choice(("text", "text", "text", "image", "document")):
            case "image":
                return self._image()
            case "document":
                title = self._mark("title") if self.chance.random() < 0.5 else None
                return Document(self._mark("document"), title)
            case _:
                return Text(self._mark("text"))

    def _image(self) -> Image:
        mark = self._mark("image")
        if self._url_images and self.chance.random() < 0.5:
            return Image(url=f"https://example.org/{mark}.png")
        return Image(data=mark.encode(), media_type="image/png")

    def _call(self) -> ToolCall:
        tool = self.chance.choice(TOOLS)
        arguments = json.dumps({"mark": self._mark("call")}, ensure_ascii=False)
        signature = "c2lnbmVk" if self.chance.random() < 0.5 else None
        return ToolCall(self.chance.choice(IDS).format(n=self._count), tool.name, arguments, signature)

    def _result(self, call: ToolCall) -> ToolResult:
        text = self._mark("result")
        failed = self.chance.random() < 0.2
        if self.chance.random() < 0.3:
            return ToolResult(call.id, (Text(text), self._image()), name=call.name, is_error=failed)
        return ToolResult(call.id, text, is_error=failed)

    def _mark(self, kind: str) -> str:
        self._count += 1
        return f"⟦{kind} {self._count}⟧"


def _opaque(**fields: Any) -> Opaque:
    return Opaque(fields.get("type") or next(iter(fields)), json.dumps(fields, ensure_ascii=False))


# ------------------------------------------------------------------ what is in a body


def marks_of(body: bytes) -> list[str]:
    """Every mark in the body, as often as it stands there; images are looked into."""
    return [f"{kind} {number}" for text in _strings(json.loads(body)) for kind, number in MARK.findall(text)]


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield _opened(value)
        case list():
            for item in value:
                yield from _strings(item)
        case dict():
            for item in value.values():
                yield from _strings(item)


def _opened(text: str) -> str:
    """The bytes of an image as text; any other string as it is."""
    payload = text.partition(";base64,")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode(payload, validate=True).decode()
    except ValueError:
        return text


def marks_expected(messages: Sequence[Message], model: Model) -> list[str]:
    """What must be in a body for `model`: all but thoughts and blocks of others."""
    found: list[str] = []
    for message in messages:
        for part in message.parts:
            match part:
                case Text(text):
                    found += _named(text)
                case Document(text, title):
                    found += _named(text) + _named(title or "")
                case Image():
                    found += _named(part.url or (part.data or b"").decode())
                case ToolCall():
                    found += _named(part.arguments)
                case ToolResult():
                    inner = (Text(part.content),) if isinstance(part.content, str) else tuple(part.content)
                    found += marks_expected((Message("user", inner),), model)
                case Opaque(data=data) if goes_back(part, model):
                    found += _named(data)
                case Reasoning(text) if part.origin == model.origin and model.name in TAKES_THOUGHTS:
                    found += _named(text)
    return found


def goes_back(part: Opaque, model: Model) -> bool:
    """A block of its own goes back to a provider; by the Responses API only beside the reasoning that led to it."""
    if model.kind.dialect.name == "responses":
        return part.origin == model.origin
    return (part.origin or "").partition("/")[0] == model.name


TAKES_THOUGHTS = ("anthropic", "gemini", "cohere", "ollama", "openai_responses", "xai_responses")
"""Chat completions have no place for them (and xAI and OpenAI count what is sent as prompt)."""


def _named(text: str) -> list[str]:
    return [f"{kind} {number}" for kind, number in MARK.findall(text)]


def paired_ids(http: HttpRequest) -> list[tuple[str, str]]:
    """("call" or "result", id) in the order of the body, whatever the wire calls them."""
    return list(_ids(json.loads(http.body or b"")))


def _ids(value: object) -> Iterator[tuple[str, str]]:
    match value:
        case {"type": "tool_use", "id": str(id)} | {"function": {"arguments": _}, "id": str(id)}:
            yield "call", id
        case {"functionCall": {"id": str(id)}} | {"type": "function_call", "call_id": str(id)}:
            yield "call", id
        case {"type": "function_call_output", "call_id": str(id)}:
            yield "result", id
        case {"type": "tool_result", "tool_use_id": str(id)} | {"role": "tool", "tool_call_id": str(id)}:
            yield "result", id
        case {"functionResponse": {"id": str(id)}}:
            yield "result", id
        case list():
            for item in value:
                yield from _ids(item)
        case dict():
            for item in value.values():
                yield from _ids(item)
