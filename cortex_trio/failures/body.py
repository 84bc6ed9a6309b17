"""Read what an error body says: messages, codes and a parameter, whatever product wrote it. Knows no failure kind.

A body is a stack of layers, because gateways wrap what they got: OpenRouter keeps the upstream's body as a string in
`error.metadata.raw`, Databricks in `message`, Google lists `details`, Cloudflare `errors`, Azure has an `innererror`.
It may also be cut in the middle: then what is there is read.

Everything here is linear in the length of the body and looks at a bounded number of layers.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

import attrs

from .kinds import CODE_LIMIT, READ_LIMIT

MOST_LAYERS = 16
DEEPEST = 64
"""Open brackets up to which a body that was cut is completed."""

INNER = (
    "error", "errors", "detail", "details", "message", "innererror", "inner_error", "metadata", "raw", "base_resp",
    "response", "Error", "cause", "body",
)  # fmt: skip
"""Where a layer keeps the next one: as an object, as a list of them, or as a string of JSON."""

MESSAGES = (
    "message", "msg", "detail", "error", "raw", "error_msg", "error_message", "errorMessage", "status_msg",
    "Message", "error_description",
)  # fmt: skip
CODES = (
    "reason", "code", "type", "status", "status_code", "error_code", "errorCode", "error_type", "http_code",
    "__type", "Code",
)  # fmt: skip

NO_WORD = ("", "none", "null")
"""What a field holds that says nothing: LiteLLM writes Python's None as a string."""

_GENERIC = re.compile(
    r"(provider returned|upstream|unknown|internal)? ?error\.?|bad request|invalid input error", re.I
)
"""What a gateway says when the layer below says more."""


@final
@attrs.frozen
class Layer:
    """One object of a body. `origin` is the name under which the layer above keeps it, "" for the outermost."""

    origin: str
    fields: Mapping[str, Any]


@final
@attrs.frozen
class Code:
    """One code. `shown` is lower-case; `key` is what the tables of signals are asked for.

    Numbers of four digits and more mean different things to MiniMax, z.ai and Cloudflare: their key says where they
    stood ("error:1113", "errors:5007", "base_resp:1008").
    """

    shown: str
    key: str


@final
@attrs.frozen
class Said:
    """What a body says. `message` is for people, `text` is every message; `statuses` are those named in the body."""

    message: str = ""
    text: str = ""
    codes: tuple[Code, ...] = ()
    statuses: tuple[int, ...] = ()
    param: str | None = None  # the request field the error is about, where the provider names it


def read(payload: object) -> Said:
    """Return what a decoded error body says.

    Args:
        payload: Any JSON value.
    """
    found = layers(payload)
    texts = [(layer, text) for layer in found for text in _messages(layer.fields)]
    codes = [code for layer in found for code in _codes(layer)]
    return Said(
        message=_shown(found, texts),
        text="\n".join(dict.fromkeys(text for _, text in texts))[:READ_LIMIT],
        codes=tuple(Code(code.shown[:CODE_LIMIT], code.key) for code in codes if not _is_status(code.shown)),
        statuses=tuple(int(code.shown) for code in codes if _is_status(code.shown)),
        param=next(filter(None, map(_param, found)), None),
    )


def layers(payload: object) -> list[Layer]:
    """Return the objects of a body, outermost first, at most `MOST_LAYERS`."""
    found: list[Layer] = []
    waiting: deque[tuple[str, object]] = deque([("", payload)])
    while waiting and len(found) < MOST_LAYERS:
        origin, value = waiting.popleft()
        if isinstance(value, str):
            value = _inside(value) or {"message": value}
        if isinstance(value, list):
            waiting.extend((origin, item) for item in value[:MOST_LAYERS])
        elif isinstance(value, Mapping):
            found.append(Layer(origin, value))
            # A plain string is a message of this layer, not a layer of its own.
            inner = ((name, value[name]) for name in INNER if name in value)
            waiting.extend((name, item) for name, item in inner if not isinstance(item, str) or _inside(item))
    return found


def squash(code: str) -> str:
    """Return a code as the tables spell it: InvalidApiKey, invalid_api_key and "Invalid API key" are one."""
    return re.sub(r"[^a-z0-9:]+", "", code.lower())


def load(text: str) -> object | None:
    """Return the JSON value at the beginning of `text`, also of a body that was cut; None if there is none.

    An SSE frame (`data: {...}`) and llama.cpp's `error: {...}` are looked into.
    """
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith(("data:", "event:", "error:", "id:", ":")) and 0 <= (start := text.find("{")) < 200:
        text = text[start:]
    if not text.startswith(("{", "[", '"')):
        return None
    try:
        value: object = json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return _completed(text)
    return value


# ------------------------------------------------------------------ a body that was cut

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+("?)|[][{},:]|[^][{},:"\s]+', re.DOTALL)


def _completed(text: str) -> object | None:
    """The value of a JSON text that ends too early: what is open is closed, what is half said is left out."""
    closers: list[str] = []
    whole: tuple[int, tuple[str, ...]] = (0, ())  # up to here, with these brackets closed, the text is JSON
    key_comes = False
    for token in _TOKEN.finditer(text):
        first, end = token[0][0], token.end()
        if first in ",:":
            key_comes = first == "," and closers[-1:] == ["}"]
            continue
        if first == '"' and key_comes:
            continue
        if first == '"' and not token[1]:  # a message cut in the middle: the usual case
            return _closed(_unescaped(text) + '"', closers) or _closed(text[: whole[0]], whole[1])
        if first in "{[":
            closers.append("}" if first == "{" else "]")
        elif first in "}]" and (not closers or closers.pop() != first):
            break
        elif first not in '{[}]"' and end == len(text):
            break  # a number or a word that may go on
        if len(closers) > DEEPEST:
            return None
        key_comes = first == "{"
        whole = end, tuple(closers)
    return _closed(text[: whole[0]], whole[1])


def _closed(text: str, closers: Iterable[str]) -> object | None:
    try:
        value: object = json.loads(text + "".join(reversed(tuple(closers))))
    except (ValueError, RecursionError):
        return None
    return value


def _unescaped(text: str) -> str:
    """`text` without an escape that it ends in the middle of."""
    start = text.rfind("\\", len(text) - 6)
    if start < 0:
        return text
    run = len(text[: start + 1]) - len(
        text[: start + 1].rstrip("\\")
    )  # an even run is of escaped backslashes
    whole = text[start + 1 : start + 2] not in ("", "u") or len(text) - start >= 6
    return text if run % 2 == 0 or whole else text[:start]


# ------------------------------------------------------------------ layers


def _inside(text: str) -> object | None:
    """The JSON that a string is, or ends with: an error that another product wrapped."""
    start = text.find("{")
    if start < 0 or not (stripped := text.lstrip()):
        return None
    value = load(text[start:] if not stripped.startswith("[") else stripped)
    if stripped.startswith(("{", "[")):
        return value if isinstance(value, (Mapping, list)) else None
    # Inside prose only what is an error for sure: a prompt that is repeated may hold JSON as well.
    is_error = isinstance(value, Mapping) and ("error" in value or {"message", "type"} <= value.keys())
    return value if is_error else None


def _messages(fields: Mapping[str, Any]) -> Iterator[str]:
    for name in MESSAGES:
        text = fields.get(name)
        if isinstance(text, str) and text.strip() and not (text.lstrip()[:1] in "{[" and _inside(text)):
            yield text[:READ_LIMIT]


def _shown(found: list[Layer], texts: list[tuple[Layer, str]]) -> str:
    """The message people read: that of `error`, unless it only says that there is one."""
    first = found[1] if len(found) > 1 and found[1].origin == "error" else None
    ordered = [text for layer, text in texts if layer is first] + [
        text for layer, text in texts if layer is not first
    ]
    return next((text for text in ordered if not _GENERIC.fullmatch(text.strip()[:40])), "".join(ordered[:1]))


def _param(layer: Layer) -> str | None:
    """The field as OpenAI names it, or as pydantic does: `loc` is the path to it ("body", "messages", 0)."""
    path = layer.fields.get("loc")
    param = layer.fields.get("param") or (path[-1] if isinstance(path, list) and path else None)
    if isinstance(param, int) and isinstance(path, list):
        param = ".".join(map(str, path[:MOST_LAYERS]))
    return param if isinstance(param, str) and param.lower() not in NO_WORD else None


# ------------------------------------------------------------------ codes


def _codes(layer: Layer) -> Iterator[Code]:
    yield from map(_code, _google_quotas(layer.fields.get("violations")))
    for name in CODES:
        value = layer.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            continue
        code = str(value)[: 2 * CODE_LIMIT].strip().lower()
        if code in NO_WORD or code == "error":
            continue
        far = code.isascii() and code.isdigit() and len(code) > 3
        yield Code(code, squash(f"{layer.origin}:{code}")) if far else _code(code)


def _code(code: str) -> Code:
    return Code(code, squash(code))


def _google_quotas(violations: object) -> Iterator[str]:
    """Google's quota ids reduced to the length of their window; the longer one is the one to wait for."""
    ids = [
        str(violation.get("quotaId", ""))
        for violation in (violations if isinstance(violations, list) else ())
        if isinstance(violation, Mapping)
    ]
    if any("PerDay" in quota for quota in ids):
        yield "quota:per_day"
    if any("PerMinute" in quota for quota in ids):
        yield "quota:per_minute"


def _is_status(code: str) -> bool:
    return len(code) == 3 and code.isascii() and code.isdigit()
