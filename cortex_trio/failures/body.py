"""Read an error body of any server product: its messages, codes and the field it is about. Knows no failure kind.

A body has layers, because gateways wrap the errors they receive: OpenRouter keeps the provider's body as a string in
`error.metadata.raw`, Databricks in `message`, Google lists `details`, Cloudflare `errors`, Azure has an `innererror`.
A body that was cut is read up to the cut.

Everything here takes time linear in the length of the body, and reads a bounded number of layers.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

import attrs

from .kinds import CODE_LIMIT, READ_LIMIT

MAX_LAYERS = 16
"""Layers of a body that are read."""

MAX_DEPTH = 64
"""Open brackets that are closed in a body that was cut."""

INNER = (
    "error", "errors", "detail", "details", "message", "innererror", "inner_error", "metadata", "raw", "base_resp",
    "response", "Error", "cause", "body",
)  # fmt: skip
"""Fields in which a layer keeps the next one: an object, a list of objects, or a string of JSON."""

MESSAGES = (
    "message", "msg", "detail", "error", "raw", "error_msg", "error_message", "errorMessage", "status_msg",
    "Message", "error_description",
)  # fmt: skip
CODES = (
    "reason", "code", "type", "status", "status_code", "error_code", "errorCode", "error_type", "http_code",
    "__type", "Code",
)  # fmt: skip

PLACE_LIMIT = 60
"""Characters of a place in the request that are shown before a message."""

NO_VALUE = ("", "none", "null")
"""Texts of a field that has no value: LiteLLM writes Python's None as a string."""

_GENERIC = re.compile(
    r"(provider returned|upstream|unknown|internal)? ?error\.?|bad request|invalid input error", re.I
)
"""Messages of a gateway that say nothing; the layer below says more."""


@final
@attrs.frozen
class Layer:
    """One object of a body."""

    origin: str
    """The field of the layer above that holds this one; "" for the outermost."""

    fields: Mapping[str, Any]
    """The object itself."""


@final
@attrs.frozen
class Code:
    """One error code of a body."""

    shown: str
    """The code in lower case, for `Failure.code`."""

    key: str
    """The code as the tables of `signals` have it.

    Numbers of four digits and more mean different things to MiniMax, z.ai and Cloudflare, so their key begins with the
    place in the body: "error:1113", "errors:5007", "base_resp:1008".
    """


@final
@attrs.frozen
class ErrorBody:
    """The contents of an error body."""

    message: str = ""
    """The message that says most, for `Failure.message`."""

    text: str = ""
    """All messages, one per line."""

    codes: tuple[Code, ...] = ()
    """The error codes, outermost first."""

    statuses: tuple[int, ...] = ()
    """The HTTP statuses that the body names."""

    param: str | None = None
    """The field of the request that the error is about. None: the provider names none."""


def read_body(payload: object) -> ErrorBody:
    """Return the contents of a decoded error body.

    Args:
        payload: Any JSON value.
    """
    found = layers(payload)
    texts = [(layer, text) for layer in found for text in _messages(layer.fields)]
    codes = [code for layer in found for code in _codes(layer)]
    return ErrorBody(
        message=_shown(found, texts),
        text="\n".join(dict.fromkeys(text for _, text in texts))[:READ_LIMIT],
        codes=tuple(Code(code.shown[:CODE_LIMIT], code.key) for code in codes if not _is_status(code.shown)),
        statuses=tuple(int(code.shown) for code in codes if _is_status(code.shown)),
        param=next(filter(None, map(_param, found)), None),
    )


def layers(payload: object) -> list[Layer]:
    """Return the objects of a body, outermost first, at most `MAX_LAYERS`.

    Args:
        payload: Any JSON value.
    """
    found: list[Layer] = []
    waiting: deque[tuple[str, object]] = deque([("", payload)])
    while waiting and len(found) < MAX_LAYERS:
        origin, value = waiting.popleft()
        if isinstance(value, str):
            value = _inside(value) or {"message": value}
        if isinstance(value, list):
            waiting.extend((origin, item) for item in value[:MAX_LAYERS])
        elif isinstance(value, Mapping):
            found.append(Layer(origin, value))
            # A plain string is a message of this layer, not a layer of its own.
            inner = ((name, value[name]) for name in INNER if name in value)
            waiting.extend((name, item) for name, item in inner if not isinstance(item, str) or _inside(item))
    return found


def normalized(code: str) -> str:
    """Return a code as the tables have it: InvalidApiKey, invalid_api_key and "Invalid API key" are the same.

    Args:
        code: An error code.
    """
    return re.sub(r"[^a-z0-9:]+", "", code.lower())


def load_json(text: str) -> object | None:
    """Return the JSON value at the beginning of a body; None if there is none.

    Args:
        text: The body, which may be cut. The JSON may stand in an SSE frame (`data: {...}`) or after `error:`
            (llama.cpp).
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
    """Return the value of a JSON text that was cut. Open brackets are closed, incomplete items are left out."""
    closers: list[str] = []
    valid: tuple[int, tuple[str, ...]] = (0, ())  # up to here, with these brackets closed, the text is JSON
    key_comes = False
    for token in _TOKEN.finditer(text):
        first, end = token[0][0], token.end()
        if first in ",:":
            key_comes = first == "," and closers[-1:] == ["}"]
            continue
        if first == '"' and key_comes:
            continue
        if first == '"' and not token[1]:  # cut inside a message: the usual case
            return _closed(_unescaped(text) + '"', closers) or _closed(text[: valid[0]], valid[1])
        if first in "{[":
            closers.append("}" if first == "{" else "]")
        elif first in "}]" and (not closers or closers.pop() != first):
            break
        elif first not in '{[}]"' and end == len(text):
            break  # a number or a word that may be incomplete
        if len(closers) > MAX_DEPTH:
            return None
        key_comes = first == "{"
        valid = end, tuple(closers)
    return _closed(text[: valid[0]], valid[1])


def _closed(text: str, closers: Iterable[str]) -> object | None:
    try:
        value: object = json.loads(text + "".join(reversed(tuple(closers))))
    except (ValueError, RecursionError):
        return None
    return value


def _unescaped(text: str) -> str:
    """Remove an escape sequence that is incomplete at the end of `text`."""
    start = text.rfind("\\", len(text) - 6)
    if start < 0:
        return text
    # An even number of backslashes are escaped backslashes.
    run = len(text[: start + 1]) - len(text[: start + 1].rstrip("\\"))
    complete = text[start + 1 : start + 2] not in ("", "u") or len(text) - start >= 6
    return text if run % 2 == 0 or complete else text[:start]


# ------------------------------------------------------------------ layers


def _inside(text: str) -> object | None:
    """Return the JSON that a string is, or contains if it is an error that another product wrapped; else None."""
    start = text.find("{")
    if start < 0 or not (stripped := text.lstrip()):
        return None
    value = load_json(text[start:] if not stripped.startswith("[") else stripped)
    if stripped.startswith(("{", "[")):
        return value if isinstance(value, (Mapping, list)) else None
    # Inside a sentence only an error object counts: a repeated prompt may hold JSON as well.
    is_error = isinstance(value, Mapping) and ("error" in value or {"message", "type"} <= value.keys())
    return value if is_error else None


def _messages(fields: Mapping[str, Any]) -> Iterator[str]:
    for name in MESSAGES:
        text = fields.get(name)
        if isinstance(text, str) and text.strip() and not (text.lstrip()[:1] in "{[" and _inside(text)):
            yield text[:READ_LIMIT]


def _shown(found: list[Layer], texts: list[tuple[Layer, str]]) -> str:
    """Return the message to show: that of the field `error`, unless it is generic."""
    first = found[1] if len(found) > 1 and found[1].origin == "error" else None
    ordered = sorted(texts, key=lambda item: item[0] is not first)
    specific = (item for item in ordered if not _GENERIC.fullmatch(item[1].strip()[:40]))
    layer, text = next(specific, ordered[0] if ordered else (None, ""))
    place = _place(layer) if layer is not None else None
    return text if place is None or place in text else f"{place}: {text}"


def _param(layer: Layer) -> str | None:
    """Return the field of the request: OpenAI's `param`, or pydantic's `loc`, a path ("body", "messages", 0)."""
    path = layer.fields.get("loc")
    param = layer.fields.get("param") or (path[-1] if isinstance(path, list) and path else None)
    if isinstance(param, int) and isinstance(path, list):
        param = ".".join(map(str, path[:MAX_LAYERS]))
    return param if isinstance(param, str) and param.lower() not in NO_VALUE else None


def _place(layer: Layer) -> str | None:
    """Return pydantic's `loc`, a path such as ("body", "messages", 0), as "messages.0"; None if there is none."""
    path = layer.fields.get("loc")
    if not isinstance(path, list):
        return None
    names = [str(name) for name in path[:MAX_LAYERS] if isinstance(name, (str, int))]
    place = ".".join(names[1:] if names[:1] == ["body"] else names)
    # A number alone is a place in the text of the body.
    return place[:PLACE_LIMIT] if any(map(str.isalpha, place)) else None


# ------------------------------------------------------------------ codes


def _codes(layer: Layer) -> Iterator[Code]:
    yield from map(_code, _google_quotas(layer.fields.get("violations")))
    for name in CODES:
        value = layer.fields.get(name)
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            continue
        code = str(value)[: 2 * CODE_LIMIT].strip().lower()
        if code in NO_VALUE or code == "error":
            continue
        is_number = code.isascii() and code.isdigit() and len(code) > 3
        yield Code(code, normalized(f"{layer.origin}:{code}")) if is_number else _code(code)


def _code(code: str) -> Code:
    return Code(code, normalized(code))


def _google_quotas(violations: object) -> Iterator[str]:
    """Reduce Google's quota ids to the length of their window, the longest first: it decides how long to wait."""
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
