"""Writes the tables of docs/providers.md by trying out what each dialect can say, so that the page cannot differ.

A feature is tried by encoding a request that needs it: what the API does not support is refused with Unsupported.
What only an answer can show (reasoning, citations) is asked of the simulated provider.

python docs/tools/providers_table.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from cortex_trio.events import CitationDelta, ReasoningDelta, WholePart, WireEvent
from cortex_trio.messages import (
    ChatRequest,
    Document,
    File,
    Image,
    Message,
    Opaque,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    user,
)
from cortex_trio.providers import PROVIDERS, Provider
from cortex_trio.simulator import Behaviour
from cortex_trio.simulator.account import AccountRules
from cortex_trio.simulator.request import SimRequest
from cortex_trio.simulator.servers import SERVERS
from cortex_trio.wire.codec import Unsupported
from cortex_trio.wire.responses.dialect import Responses

PAGE = Path(__file__).resolve().parents[1] / "providers.md"
TABLES = ("features", "numbers")
BEGIN, END = "<!-- {}: written by docs/tools/providers_table.py -->", "<!-- end of {} -->"

MODEL = "some-model"
PLAIN = ChatRequest(messages=(user("Hi"),))
TOOL = Tool("look", "Looks", {"type": "object", "properties": {}})
PNG = Image(data=b"\x89PNG", media_type="image/png")
FILES = {
    "PDF": "application/pdf",
    "text": "text/plain",
    "audio": "audio/wav",
    "video": "video/mp4",
}
SCHEMA = {"type": "object", "properties": {}}
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
MOST_TRIED = 20


# ------------------------------------------------------------------ trying out


def body_of(kind: Provider, *messages: Message, **options: Any) -> dict[str, Any] | None:
    """The body of a request, None where the dialect refuses it."""
    request = ChatRequest(messages=messages or (user("Hi"),), **options)
    try:
        http = kind.dialect.encode(request, kind.name, MODEL)
    except Unsupported:
        return None
    found: dict[str, Any] = json.loads(http.body or b"")
    return found


def events_of(kind: Provider, behaviour: Behaviour) -> list[WireEvent]:
    """What the simulated provider's answer to a plain request is read as."""
    server, http = SERVERS[kind.name], kind.dialect.encode(PLAIN, kind.name, MODEL)
    path, _, query = http.path.partition("?")
    request = SimRequest(
        when=0.0,
        method=http.method,
        path=server.base_path + path,
        query=dict(pair.split("=") for pair in query.split("&") if pair),
        body=json.loads(http.body or b""),
        key="sk-sim",
        headers={**kind.headers, **http.headers},
    )
    exchange = server.parse(request, AccountRules())
    decoder = kind.dialect.decoder()
    frames = exchange.stream(exchange.answer(behaviour)).frames()
    events = [event for frame in frames for event in decoder.feed(frame.data)]
    return [*events, *decoder.finish()]


def mark(holds: object) -> str:
    return "yes" if holds else "–"


def streaming(kind: Provider) -> str:
    accept = kind.dialect.encode(PLAIN, kind.name, MODEL).headers["accept"]
    return {"text/event-stream": "SSE", "application/x-ndjson": "NDJSON"}[accept]


def tool_choices(kind: Provider) -> str:
    tried = {"auto": "auto", "none": "none", "required": "required", "a name": TOOL.name}
    said = [words for words, choice in tried.items() if body_of(kind, tools=(TOOL,), tool_choice=choice)]
    return ", ".join(said)


def parallel_calls(kind: Provider) -> str:
    calls = (ToolCall("a", "look", '{"at":"one"}'), ToolCall("b", "look", '{"at":"two"}'))
    results = (ToolResult("a", "first"), ToolResult("b", "second"))
    text = json.dumps(body_of(kind, user("Hi"), Message("assistant", calls), Message("tool", results)))
    return mark(all(word in text for word in ("one", "two", "first", "second")))


def result_images(kind: Provider) -> str:
    """In the result where that is allowed; what makes one message more stands in a message after it."""
    history = user("Hi"), Message("assistant", (ToolCall("a", "look", "{}"),))
    counts = []
    for content in ("seen", (Text("seen"), PNG)):
        body = body_of(kind, *history, Message("tool", (ToolResult("a", content),)))
        if body is None:
            return "–"
        [said] = (body[name] for name in ("messages", "contents", "input") if name in body)
        counts.append(len(said))
    return "yes" if counts[0] == counts[1] else "in a user message after it"


def files(kind: Provider) -> str:
    """The kinds of files that are taken as bytes, and how else they are."""
    kinds = [
        name
        for name, media_type in FILES.items()
        if body_of(kind, user("Read", File(data=b"%PDF", media_type=media_type)))
    ]
    others = {"by URL": File(url="https://example.org/a.pdf"), "by id": File(id="file_1")}
    return (
        ", ".join([*kinds, *(how for how, file in others.items() if body_of(kind, user("Read", file)))])
        or "–"
    )


def breakpoints(kind: Provider) -> str:
    asked = Message("user", "Hi", cache=True)
    return "yes" if body_of(kind, asked) != body_of(kind, user("Hi")) else "ignored"


def reasoning_options(kind: Provider) -> str:
    efforts = [effort for effort in EFFORTS if body_of(kind, reasoning=effort)]
    words = "any word" if body_of(kind, reasoning="unheard-of") else ", ".join(efforts)
    return ", ".join(filter(None, (words, "tokens" if body_of(kind, reasoning=2048) else "")))


def reasoning_shown(kind: Provider) -> str:
    def is_shown(kind: Provider) -> bool:
        events = events_of(kind, Behaviour(reasoning="Hm."))
        return any(isinstance(event, ReasoningDelta) for event in events)

    if isinstance(kind.dialect, Responses) and not is_shown(kind):
        asking = attrs.evolve(kind, dialect=attrs.evolve(kind.dialect, summary="auto"))
        return "with `summary=`" if is_shown(asking) else "–"
    return mark(is_shown(kind))


def replay(kind: Provider) -> str:
    call = ToolCall("a", "look", "{}")

    def sent(thought: Reasoning) -> str:
        said = Message("assistant", (thought, call))
        return json.dumps(body_of(kind, user("Hi"), said, Message("tool", (ToolResult("a", "ok"),))))

    text = sent(Reasoning("Hm, so.", signature="c2ln"))
    if "Hm, so." in text:
        return "with its signature" if "c2ln" in text else "as text"
    whole = sent(Reasoning("Hm, so.", signature="rs_1", encrypted="Y2lwaGVy"))
    return "encrypted" if "Hm, so." in whole and "Y2lwaGVy" in whole else "–"


def schema(kind: Provider) -> str:
    alone, beside = (
        body_of(kind, response_schema=SCHEMA),
        body_of(kind, response_schema=SCHEMA, tools=(TOOL,)),
    )
    return "yes" if alone and beside else "not beside tools" if alone else "–"


def documents(kind: Provider) -> str:
    body = body_of(kind, user("Hi"), documents=(Document("The text.", "The title"),))
    return "as text" if "The title\\n\\nThe text." in json.dumps(body) else "as documents"


def citations(kind: Provider) -> str:
    events = events_of(kind, Behaviour(citations=(CitationDelta(0, 5, "Hello", ("https://example.org",)),)))
    return mark(any(isinstance(event, CitationDelta) for event in events))


def made_images(kind: Provider) -> str:
    events = events_of(kind, Behaviour(parts=(PNG,)))
    return mark(any(isinstance(event, WholePart) and isinstance(event.part, Image) for event in events))


def own_blocks(kind: Provider) -> str:
    """Whether such parts are kept and sent back to their provider, also those of unknown types."""
    block = Opaque("hologram", '{"type":"hologram","id":"own_1","content":{"depth":3}}')
    events = events_of(kind, Behaviour(parts=(block,)))
    kept = [event.part for event in events if isinstance(event, WholePart)]
    sent = json.dumps(body_of(kind, user("Hi"), Message("assistant", (*kept, Text("Hello")))))
    return "kept, and sent back" if kept and "own_1" in sent else "kept" if kept else "–"


def most_stops(kind: Provider) -> str:
    allowed = [n for n in range(1, MOST_TRIED + 1) if body_of(kind, stop=tuple(map(str, range(n))))]
    if not allowed:
        return "–"
    return "any number" if len(allowed) == MOST_TRIED else f"up to {max(allowed)}"


def embeddings(kind: Provider) -> str:
    try:
        kind.dialect.encode_embed(["text"], kind.name, MODEL, None)
    except Unsupported:
        return "–"
    return f"`{kind.embed_model}`" if kind.embed_model else "with `model=`"


FEATURES: Mapping[str, Callable[[Provider], str]] = {
    "streaming": streaming,
    "tools": lambda kind: mark(body_of(kind, tools=(TOOL,))),
    "`tool_choice`": tool_choices,
    "parallel calls": parallel_calls,
    "images as bytes": lambda kind: mark(body_of(kind, user("Look", PNG))),
    "images by URL": lambda kind: mark(body_of(kind, user("Look", Image(url="https://example.org/a.png")))),
    "images in tool results": result_images,
    "files": files,
    "custom tools": lambda kind: mark(body_of(kind, tools=(Tool("patch", "Patches", kind="custom"),))),
    "`cache=`": breakpoints,
    "`reasoning=`": reasoning_options,
    "reasoning is shown": reasoning_shown,
    "reasoning goes back": replay,
    "`response_schema`": schema,
    "`documents`": documents,
    "citations are read": citations,
    "images in answers": made_images,
    "what its own tools did": own_blocks,
    "`stop`": most_stops,
    "embeddings": embeddings,
}

NUMBERS: Mapping[str, Callable[[Provider], str]] = {
    "dialect": lambda kind: f"`{kind.dialect.name}`",
    "address": lambda kind: kind.base_url.removeprefix("https://") or "the worker's `base_url`",
    "key": lambda kind: f"`{kind.auth.header}`" if kind.needs_key else "none needed",
    "environment": lambda kind: ", ".join(f"`{prefix}_*`" for prefix in kind.env) or "–",
    "priority": lambda kind: str(kind.priority),
    "first token within": lambda kind: f"{kind.timeout:g} s",
    "default model": lambda kind: f"`{kind.default_models[0]}`" if kind.default_models else "–",
    "health check": lambda kind: f"`{kind.health.method} {kind.health.path}`",
    "goes on from a prefix": lambda kind: prefill(kind.prefill),
    "context windows": lambda kind: windows(kind.context_windows),
}


def prefill(models: Sequence[str]) -> str:
    return "all models" if "" in models else ", ".join(f"`{model}…`" for model in models) or "–"


def windows(known: Mapping[str, int]) -> str:
    """Tokens by prefix of the model's name; the longest prefix that fits counts."""
    return ", ".join(f"`{prefix}…` {tokens // 1000:,}k" for prefix, tokens in known.items()) or "–"


# ------------------------------------------------------------------ writing


def table(rows: Mapping[str, Callable[[Provider], str]], *, by_provider: bool) -> str:
    """The rows for all providers in Markdown; `by_provider` puts one of them in each line."""
    cells = [["", *(f"`{name}`" for name in PROVIDERS)]]
    cells += [[what, *(cell(kind) for kind in PROVIDERS.values())] for what, cell in rows.items()]
    if by_provider:
        cells = [list(column) for column in zip(*cells, strict=True)]
    head, *body = cells
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *body])


def made() -> dict[Path, str]:
    """The page with its tables as they must be."""
    text = PAGE.read_text(encoding="utf-8")
    tables = table(FEATURES, by_provider=False), table(NUMBERS, by_provider=True)
    for name, written in zip(TABLES, tables, strict=True):
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{written}\n{end}{after}"
    return {PAGE: text}


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
