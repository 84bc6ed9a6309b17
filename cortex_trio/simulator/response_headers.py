"""The headers that the real providers and their proxies add to what an API itself needs: rate limits, caches, ids."""

from __future__ import annotations

from collections.abc import Mapping

from ..wire.server import ParsedRequest, ResponseIdentity
from .request import CREATED_TEXT

Headers = Mapping[str, str]


def none(request: ParsedRequest) -> Headers:
    return {}


def no_error(status: int, identity: ResponseIdentity) -> Headers:
    return {}


def compatible(request: ParsedRequest) -> Headers:
    return {"cache-control": "no-cache"} if request.stream else {}


def openai(request: ParsedRequest) -> Headers:
    return {
        "server": "cloudflare",
        "openai-version": "2020-10-01",
        "openai-processing-ms": "140",
        "x-request-id": f"req_{request.identity.id}",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-limit-tokens": "2000000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-remaining-tokens": "1999976",
        "x-ratelimit-reset-requests": "6ms",
        "x-ratelimit-reset-tokens": "0s",
    }


def groq(request: ParsedRequest) -> Headers:
    cache = "no-cache" if request.stream else "private, max-age=0, no-store, no-cache, must-revalidate"
    return {
        "cache-control": cache,
        "server": "cloudflare",
        "vary": "Origin",
        "x-groq-region": "yul",
        "x-ratelimit-limit-requests": "1000",
        "x-ratelimit-limit-tokens": "12000",
        "x-ratelimit-remaining-requests": "990",
        "x-ratelimit-remaining-tokens": "10420",
        "x-ratelimit-reset-requests": "14m24s",
        "x-ratelimit-reset-tokens": "7.899999999s",
        "x-request-id": f"req_{request.identity.id}",
    }


def xai(request: ParsedRequest) -> Headers:
    return {
        "server": "cloudflare",
        "x-request-id": request.identity.uuid,
        "x-ratelimit-limit-requests": "1800",
        "x-ratelimit-limit-tokens": "10000000",
        "x-ratelimit-remaining-requests": "1799",
        "x-ratelimit-remaining-tokens": "9999900",
    }


_ANTHROPIC_LIMITS = {
    "requests": 10_000,
    "tokens": 12_000_000,
    "input-tokens": 10_000_000,
    "output-tokens": 2_000_000,
}


def anthropic(request: ParsedRequest) -> Headers:
    limits = {
        f"anthropic-ratelimit-{bucket}-{name}": value
        for bucket, limit in _ANTHROPIC_LIMITS.items()
        for name, value in (("limit", str(limit)), ("remaining", str(limit - 1)), ("reset", CREATED_TEXT))
    }
    cache = {"cache-control": "no-cache"} if request.stream else {}
    return {**cache, **limits, "request-id": f"req_{request.identity.id}", "server": "cloudflare"}


SHOULD_RETRY = dict.fromkeys((429, 500, 504, 529), "true") | dict.fromkeys(
    (400, 401, 402, 403, 404, 413), "false"
)
"""`x-should-retry` by status, as far as it is documented or recorded; other statuses are sent without it."""


def anthropic_error(status: int, identity: ResponseIdentity) -> Headers:
    retry = {"x-should-retry": SHOULD_RETRY[status]} if status in SHOULD_RETRY else {}
    return {"server": "cloudflare", **retry}


def gemini(request: ParsedRequest) -> Headers:
    common = {"vary": "Origin, Referer, X-Origin", "server": "scaffolding on HTTPServer2"}
    sends_events = request.stream and getattr(request.form, "sse", False)
    return {"content-disposition": "attachment", **common} if sends_events else common


def gemini_error(status: int, identity: ResponseIdentity) -> Headers:
    return {"vary": "Origin, X-Origin, Referer", "server": "scaffolding on HTTPServer2"}


_COHERE = {
    "cache-control": "no-cache, no-store, no-transform, must-revalidate, private, max-age=0",
    "expires": "Thu, 01 Jan 1970 00:00:00 GMT",
    "pragma": "no-cache",
    "server": "envoy",
    "via": "1.1 google",
    "x-accel-expires": "0",
}


def cohere(request: ParsedRequest) -> Headers:
    return {**_COHERE, "x-debug-trace-id": _trace_id(request.identity)}


def cohere_error(status: int, identity: ResponseIdentity) -> Headers:
    return {**_COHERE, "x-debug-trace-id": _trace_id(identity)}


def _trace_id(identity: ResponseIdentity) -> str:
    return identity.uuid.replace("-", "")[-12:].rjust(32, "0")
