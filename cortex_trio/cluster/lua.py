"""The Lua scripts in `scripts/`, which run inside the server. Each is one atomic operation of a StoreLink."""

from __future__ import annotations

from functools import cache
from pathlib import Path

NAMES = ("put", "snapshot", "beat", "lease", "release", "claim", "add")
FOLDER = Path(__file__).parent / "scripts"


@cache
def source_of(name: str) -> str:
    """Return the text of a script.

    Args:
        name: one of NAMES.
    """
    return (FOLDER / f"{name}.lua").read_text(encoding="utf-8")
