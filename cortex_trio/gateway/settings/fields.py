"""Converters and validators of single fields, for attrs. A ConfigError names the field and says what is allowed."""

from __future__ import annotations

import importlib.util
import re
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import attrs

from ...failures import ConfigError
from ...failures.shown import looks_like_key, named, shown
from ...http.certificates import CertificateFileError, context_from
from ...providers import PROVIDERS, Provider
from .secrets import ApiKey, Hidden, ProxyUrl

Validator = Callable[[Any, Any, Any], None]
S = TypeVar("S", bound=str)

MAX_SECONDS = 86_400.0
"""One day. A longer time-out or interval is a mistake."""
CAPABILITIES = ("tools", "images", "files", "audio", "documents", "reasoning", "json")
"""What a request may need of a model."""
FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MESSAGE_FIELDS = ("role", "content", "tool_calls", "refusal", "audio", "name", "function_call")
"""Fields of an assistant message in chat completions."""


def number(low: float, high: float, *, whole: bool = False) -> Validator:
    """Return a validator for a number from `low` to `high`; None is allowed where it is the default."""

    def check(_: object, field: attrs.Attribute[Any], value: object) -> None:
        wanted = f"{'a whole number' if whole else 'a number'} from {low:g} to {high:g}"
        if value is None and field.default is None:
            return
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise ConfigError(field.name, f"{wanted} is allowed, not {type(value).__name__}")
        if not low <= value <= high:
            raise ConfigError(field.name, f"{wanted} is allowed, not {shown(value)}")

    return check


def one_of(allowed: Collection[S]) -> Callable[[Any, attrs.Attribute[S], S], None]:
    """Return a validator for one of these values. Its type is that of the values, so that a field keeps its Literal."""

    def check(_: object, field: attrs.Attribute[S], value: S) -> None:
        if value not in [*allowed]:  # a value that has no hash is no error of this check
            raise ConfigError(field.name, f"one of {', '.join(allowed)} is allowed, not {shown(value)}")

    return check


def true_or_false(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigError(field.name, f"true or false is allowed, not {shown(value)}")


def known_provider(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Provider) and not (isinstance(value, str) and value in PROVIDERS):
        raise ConfigError(field.name, f"one of {', '.join(PROVIDERS)} is allowed, not {shown(value)}")


def strings(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, tuple):
        raise ConfigError(field.name, f"a str or a list of str is needed, not {type(value).__name__}")
    for slot, item in enumerate(value):
        if not isinstance(item, str) or not item.strip():
            raise ConfigError(f"{field.name}[{slot}]", "a non-empty str is needed")


def model_names(self: object, field: attrs.Attribute[Any], value: object) -> None:
    strings(self, field, value)
    for slot, name in enumerate(value if isinstance(value, tuple) else ()):
        if looks_like_key(name):
            text = f"{shown(name)} looks like an API key: names of models appear in logs and events"
            raise ConfigError(f"{field.name}[{slot}]", text)


def tuple_of_models(value: Any) -> Any:
    """Return a str as a tuple with one model. The validator rejects what is not a list."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, Sequence) else value


def tuple_of_capabilities(value: Any) -> Any:
    return tuple(value) if isinstance(value, Collection) and not isinstance(value, str) else value


def known_capabilities(_: object, field: attrs.Attribute[Any], value: Any) -> None:
    known = isinstance(value, tuple) and all(item in CAPABILITIES for item in value)
    if value is not None and not known:
        raise ConfigError(field.name, f"a list of {', '.join(CAPABILITIES)} is allowed, not {shown(value)}")


def reasoning_field(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """The name of a field that an assistant message does not have for something else."""
    if value is None:
        return
    if not isinstance(value, str) or not FIELD_NAME.fullmatch(value) or value in MESSAGE_FIELDS:
        raise ConfigError(
            field.name, f'the name of a field is needed, such as "reasoning_content", not {shown(value)}'
        )


def worker_name(name: object) -> str:
    """Return `name` if a worker may have it.

    Raises:
        ConfigError: it may not.
    """
    if not isinstance(name, str) or not name or not name.isprintable() or len(name) > 100:
        raise ConfigError("$", f"a worker's name is 1 to 100 printable characters, not {shown(name)}")
    if looks_like_key(name):
        raise ConfigError(
            "$", f"{shown(name)} looks like an API key: names of workers appear in logs and events"
        )
    return name


# ------------------------------------------------------------------ addresses


def base_url(_: object, field: attrs.Attribute[Any], value: str | None) -> None:
    if value is None:
        return
    allowed = "an address like https://host:port/path is allowed"
    if "@" in str(value):
        raise ConfigError(field.name, f"{allowed}, without user, password, query or fragment")
    if "?" in str(value):
        raise ConfigError(
            field.name,
            f'{allowed}, without a query: write the part after the "?" as query={{"name": "value"}}',
        )
    if "#" in str(value):
        raise ConfigError(field.name, f"{allowed}, without query or fragment")
    if not _is_address(value):
        raise ConfigError(field.name, f"{allowed}, not {shown(value)}")


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        # urlsplit drops line breaks, which would otherwise reach the request line
        plain = value.isascii() and value.isprintable() and " " not in value
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        return plain and known and _has_host(value)
    except (ValueError, TypeError, AttributeError):
        return False


def _has_host(url: str) -> bool:
    """Whether httpx, which is stricter than urllib, finds a host in `url`."""
    import httpx  # here, because a configuration without addresses needs no httpx

    try:
        return bool(httpx.URL(url).host)
    except httpx.InvalidURL:
        return False


PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def proxy_from(value: Any) -> Any:
    return ProxyUrl(value) if isinstance(value, str) else value


def proxy(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Check the address of a proxy. The error does not contain it, because it may contain a password."""
    if value is None or value == "":
        return
    if not isinstance(value, ProxyUrl):
        raise ConfigError(field.name, f"the address of a proxy is needed, not {type(value).__name__}")
    problem = proxy_problem(value)
    if problem:
        del value
        raise ConfigError(field.name, problem)


def proxy_problem(address: ProxyUrl) -> str | None:
    """Return what is wrong with the address of a proxy, or None. The text contains no user and no password."""
    whole = address.reveal()
    try:
        parts = urlsplit(whole)
        scheme = parts.scheme
        ok = bool(parts.hostname) and (parts.port or 1) > 0 and whole.isascii() and whole.isprintable()
        ok = ok and " " not in whole and _has_host(whole)
    except ValueError:
        scheme, ok = whole.partition("://")[0], False
    del whole
    if scheme not in PROXY_SCHEMES or not ok:
        given = f", not {named(scheme)}://" if scheme not in PROXY_SCHEMES and ok else ""
        return (
            f"an address like http://user:password@host:port is allowed ({', '.join(PROXY_SCHEMES)}){given}"
        )
    if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        return "a SOCKS proxy needs the package socksio: pip install 'httpx[socks]'"
    return None


def http2(_: object, field: attrs.Attribute[Any], value: object) -> None:
    true_or_false(_, field, value)
    if value and importlib.util.find_spec("h2") is None:
        raise ConfigError(field.name, "HTTP/2 needs the package h2: pip install 'httpx[http2]'")


def verify(_: object, field: attrs.Attribute[Any], value: object) -> None:
    """Load the certificates, so that a missing or wrong file is a ConfigError."""
    if not isinstance(value, bool | str | Path | ssl.SSLContext):
        raise ConfigError(
            field.name,
            f"true, false, the path of a CA file or folder, or an ssl.SSLContext is allowed, not {shown(value)}",
        )
    if isinstance(value, str | Path):
        try:
            context_from(value)
        except CertificateFileError as error:
            failed = certificate_error(field.name, error)
            raise failed from failed.__cause__


def certificate_error(field: str, error: CertificateFileError) -> ConfigError:
    """Return the error to raise for a CA file, with its cause.

    A path without separator and dot is masked, and the cause left out: it may be a key.
    """
    if not set("/\\.") & set(error.path):
        return ConfigError(field, error.problem_with(named(error.path)))
    failed = ConfigError(field, error.problem_with(error.path[:500]))
    failed.__cause__ = error
    return failed


# ------------------------------------------------------------------ names and values

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 §5.6.2, token."""
_CONNECTION_HEADERS = {
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "te",
    "transfer-encoding",
    "upgrade",
}
"""Headers of framing and compression, which this library writes. A second one could smuggle a request."""


def hidden(value: Any) -> Any:
    """Return a mapping of str with hidden values. The validator rejects everything else."""
    if isinstance(value, Mapping) and not isinstance(value, Hidden):
        return Hidden(value)
    return value


def headers(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(field.name, f"an object of names and values is needed, not {type(value).__name__}")
    for name, text in value.items():
        _header_name(field.name, name)
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise _bad_header(field.name, name)


def secret_headers_from(value: Any) -> Any:
    """Return the values as ApiKeys.

    Raises:
        ConfigError: a value is not allowed; the error names the header and does not contain the value.
    """
    if not isinstance(value, Mapping):
        return value
    made: dict[Any, ApiKey] = {}
    for name, secret in value.items():
        try:
            made[name] = ApiKey(secret)
        except ConfigError as error:
            problem = ConfigError(f"secret_headers.{named(name)}", error.problem)
            del value, secret
            raise problem from None
    return made


def secret_headers(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(field.name, f"an object of names and values is needed, not {type(value).__name__}")
    for name in value:
        _header_name(field.name, name)


def _header_name(field: str, name: object) -> None:
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise _bad_header(field, name)
    if name.lower() in _CONNECTION_HEADERS:
        raise ConfigError(f"{field}.{named(name)}", "this library sets this header itself; leave it out")


def _bad_header(field: str, name: object) -> ConfigError:
    return ConfigError(
        f"{field}.{named(name, 40)}", "a header's name and a printable ASCII value are allowed"
    )


def query(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(field.name, f"an object of names and values is needed, not {type(value).__name__}")
    for name, text in value.items():
        if not isinstance(name, str) or not name or not isinstance(text, str):
            raise ConfigError(f"{field.name}.{named(name, 40)}", "a name and a value, both str, are allowed")
