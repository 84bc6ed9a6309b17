"""Is an Ollama running here? One short, blocking question, asked before anything runs.

`Config.from_env` is synchronous and may be called outside Trio, so this is the standard library's client.
A port of this machine answers or refuses at once; the time-out is for the odd firewall.
"""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

PATIENCE_SECONDS = 0.5
ANSWER_LIMIT = 1 << 20


def ollama_models(base_url: str) -> list[str] | None:
    """Return the models the Ollama at `base_url` serves; None if none answers there."""
    try:
        parts = urlsplit(base_url)
        secure = parts.scheme == "https"
        connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = connect(parts.hostname or "localhost", parts.port, timeout=PATIENCE_SECONDS)
    except ValueError:
        return None  # no address; whoever reads the configuration says so better
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/api/tags")
        response = connection.getresponse()
        listed = json.loads(response.read(ANSWER_LIMIT))["models"]
        return [str(model["name"]) for model in listed] if response.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()
