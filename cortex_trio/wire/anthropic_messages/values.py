"""Names that both sides of this API share, and values that are no blocks. Knows no event and no request."""

from __future__ import annotations

import json
from typing import Any

ROLES = ("user", "assistant", "system")
"""Of messages. Newer models take a system message after one of the user; the first stands in the field `system`."""

CITATIONS = "citations"
"""Citations of search results that the server wants back on the text that quotes them.

It follows the text and holds `characters`, the length of the text block that the citations came on, and `citations`.
"""

CONTAINER = "container"
"""The container that the server ran code in, as it came: the next request names its `id`."""


def caller_value(signature: str | None) -> dict[str, Any] | None:
    """Return what called a tool: code that the server runs. The `signature` of a call holds it as JSON.

    None: the call has no signature, or that of another API.
    """
    try:
        caller = json.loads(signature or "null")
    except (ValueError, RecursionError):
        return None
    return caller if isinstance(caller, dict) and "type" in caller else None
