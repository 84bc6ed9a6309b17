"""Finds an Ollama server and its models: what OLLAMA_HOST means, and one short request.

`Config.from_env` is synchronous and may be called outside of Trio, so this uses the standard library's HTTP client, in
a thread of its own: no name server and no firewall can make it take longer than PROBE_SECONDS.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import attrs

PROBE_SECONDS = 0.5
"""Seconds after which no server is assumed."""
RESPONSE_LIMIT = 1 << 20
"""Bytes of the response that are read."""
DEFAULT_PORT = 11434

_EMBEDDING_FAMILY = re.compile(r"bert\b")
"""bert, nomic-bert, nomic-bert-moe, jina-bert-v2: encoders, which cannot chat."""
_EMBEDDING_NAME = re.compile(r"embed|minilm|(^|[/-])(bge|gte|e5)-|paraphrase")


@attrs.frozen
class Served:
    """The models of an Ollama server in its own order: the one that was used last comes first."""

    chat: tuple[str, ...] = ()
    embedding: tuple[str, ...] = ()


def host_from(text: str) -> str | None:
    """Return the address of a server that OLLAMA_HOST names; None if the text is not an address. Never raises.

    The rules are those of Ollama's own client (envconfig.Host): blanks and quotes around the text are dropped; host,
    port and scheme may each be left out; a port that is not a number from 1 to 65535 means the default port. For an
    address on which a server listens (0.0.0.0, ::) the loopback address is returned.
    """
    text = text.strip().strip("\"'").strip()
    if text == "ollama.com":
        return "https://ollama.com"
    scheme, found, location = text.partition("://")
    scheme, location = (scheme.lower(), location) if found else ("http", text)
    if scheme not in ("http", "https") or "@" in location:
        return None
    default = (443 if scheme == "https" else 80) if found else DEFAULT_PORT
    authority, slash, path = location.partition("/")
    host, port = _host_and_port(authority, default)
    path = path.strip("/")
    shown_port = "" if port == (443 if scheme == "https" else 80) else f":{port}"
    return f"{scheme}://{host}{shown_port}{slash if path else ''}{path}"


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    try:
        address = ip_address(_bare(authority))
    except ValueError:
        pass
    else:  # an IPv6 address may be written without brackets, then without a port
        return _in_url(str(address)), default
    host, colon, port = authority.rpartition(":")
    if not colon:
        host, port = authority, ""
    number = int(port) if re.fullmatch(r"\+?[0-9]{1,5}", port) else 0
    return _in_url(_bare(host)), number if 0 < number <= 65535 else default


def _bare(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _in_url(host: str) -> str:
    """Return a host as it is written in a URL; an empty host is loopback."""
    if not host:
        return "127.0.0.1"
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"[{address}]" if address.version == 6 else str(address)


def ollama_models(base_url: str) -> Served | None:
    """Return the models of the Ollama server at `base_url`; None if there is no response in PROBE_SECONDS. Blocks."""
    found: list[Served | None] = []
    thread = threading.Thread(
        target=lambda: found.append(_request_models(base_url)), name="ollama probe", daemon=True
    )
    thread.start()
    thread.join(PROBE_SECONDS)
    return found[0] if found else None


def _request_models(base_url: str) -> Served | None:
    with suppress(*_NO_SERVER):
        parts = urlsplit(base_url)
        secure = parts.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(parts.hostname or "localhost", parts.port, timeout=PROBE_SECONDS)
        with closing(connection):
            connection.request("GET", f"{parts.path.rstrip('/')}/api/tags")
            response = connection.getresponse()
            listed = json.loads(response.read(RESPONSE_LIMIT))["models"]
            return served_from(listed) if response.status == 200 else None
    return None


_NO_SERVER = (
    OSError,
    http.client.HTTPException,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)
"""No address, no server, or a server that is not Ollama."""


def served_from(listed: list[Mapping[str, Any]]) -> Served:
    """Return the models in a response to GET /api/tags.

    Raises:
        KeyError, TypeError, AttributeError: the response has another form.
    """
    chat: list[str] = []
    embedding: list[str] = []
    for model in listed:
        (embedding if _only_embeds(model) else chat).append(str(model["name"]))
    return Served(tuple(chat), tuple(embedding))


def _only_embeds(model: Mapping[str, Any]) -> bool:
    """Whether a model cannot chat: by its capabilities in newer versions of Ollama, otherwise by family and name."""
    capabilities = model.get("capabilities")
    if isinstance(capabilities, list) and capabilities:
        return "completion" not in capabilities
    details = model.get("details") or {}
    families = [details.get("family"), *(details.get("families") or [])]
    if any(_EMBEDDING_FAMILY.search(str(family).lower()) for family in families if family):
        return True
    return bool(_EMBEDDING_NAME.search(str(model["name"]).lower()))
