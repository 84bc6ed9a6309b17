"""Is an Ollama running here, and where? What OLLAMA_HOST means, and one short question asked before anything runs.

`Config.from_env` is synchronous and may be called outside Trio, so this is the standard library's client, in a thread
of its own: no name server and no firewall can make the answer come later than PATIENCE_SECONDS.
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

PATIENCE_SECONDS = 0.5
ANSWER_LIMIT = 1 << 20
DEFAULT_PORT = 11434

_EMBEDDING_FAMILY = re.compile(r"bert\b")
"""bert, nomic-bert, nomic-bert-moe, jina-bert-v2: encoders, which have no way to answer a chat."""
_EMBEDDING_NAME = re.compile(r"embed|minilm|(^|[/-])(bge|gte|e5)-|paraphrase")


@attrs.frozen
class Served:
    """The models an Ollama serves, in its own order: the one used last comes first."""

    chat: tuple[str, ...] = ()
    embedding: tuple[str, ...] = ()


def host_from(text: str) -> str | None:
    """Return the address that OLLAMA_HOST names for a client; None if it names none. Never raises.

    The rules are those of Ollama's own client (envconfig.Host): blanks and quotes around it are dropped; host, port
    and scheme may each be left out; a port that is no number from 1 to 65535 is the default. An address that a server
    listens on (0.0.0.0, ::) is connected to as loopback.
    """
    text = text.strip().strip("\"'").strip()
    if text == "ollama.com":
        return "https://ollama.com"
    scheme, found, rest = text.partition("://")
    scheme, rest = (scheme.lower(), rest) if found else ("http", text)
    if scheme not in ("http", "https") or "@" in rest:
        return None
    default = (443 if scheme == "https" else 80) if found else DEFAULT_PORT
    authority, slash, path = rest.partition("/")
    host, port = _host_and_port(authority, default)
    path = path.strip("/")
    shown_port = "" if port == (443 if scheme == "https" else 80) else f":{port}"
    return f"{scheme}://{host}{shown_port}{slash if path else ''}{path}"


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    try:
        address = ip_address(_bare(authority))
    except ValueError:
        pass
    else:  # an IPv6 address may stand without brackets, and then without a port
        return _spelt(str(address)), default
    host, colon, port = authority.rpartition(":")
    if not colon:
        host, port = authority, ""
    number = int(port) if re.fullmatch(r"\+?[0-9]{1,5}", port) else 0
    return _spelt(_bare(host)), number if 0 < number <= 65535 else default


def _bare(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _spelt(host: str) -> str:
    """A host as a URL has it."""
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
    """Return the models the Ollama at `base_url` serves; None if none answers there within PATIENCE_SECONDS."""
    answers: list[Served | None] = []
    thread = threading.Thread(target=lambda: answers.append(_ask(base_url)), name="ollama probe", daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return answers[0] if answers else None


def _ask(base_url: str) -> Served | None:
    with suppress(*_NO_OLLAMA):
        parts = urlsplit(base_url)
        secure = parts.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(parts.hostname or "localhost", parts.port, timeout=PATIENCE_SECONDS)
        with closing(connection):
            connection.request("GET", f"{parts.path.rstrip('/')}/api/tags")
            response = connection.getresponse()
            listed = json.loads(response.read(ANSWER_LIMIT))["models"]
            return served_from(listed) if response.status == 200 else None
    return None


_NO_OLLAMA = (
    OSError,
    http.client.HTTPException,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
)
"""No address, no server there, or one that answers something else."""


def served_from(listed: list[Mapping[str, Any]]) -> Served:
    """Return the models of an answer to GET /api/tags. Raises KeyError, TypeError or AttributeError for another."""
    chat: list[str] = []
    embedding: list[str] = []
    for model in listed:
        (embedding if _only_embeds(model) else chat).append(str(model["name"]))
    return Served(tuple(chat), tuple(embedding))


def _only_embeds(model: Mapping[str, Any]) -> bool:
    """Newer versions say what a model is capable of; of others the family and the name tell."""
    capabilities = model.get("capabilities")
    if isinstance(capabilities, list) and capabilities:
        return "completion" not in capabilities
    details = model.get("details") or {}
    families = [details.get("family"), *(details.get("families") or [])]
    if any(_EMBEDDING_FAMILY.search(str(family).lower()) for family in families if family):
        return True
    return bool(_EMBEDDING_NAME.search(str(model["name"]).lower()))
