"""Snapshots as JSON text, and back: for pages, command lines and other processes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from .snapshot import Snapshot

if TYPE_CHECKING:
    from cattrs.preconf.json import JsonConverter


def to_json(snapshot: Snapshot) -> str:
    """Return `snapshot` as one line of JSON: an object with its fields, times in ISO 8601."""
    return _converter().dumps(snapshot)


def from_json(text: str | bytes) -> Snapshot:
    """Return the snapshot that `to_json` wrote. Fields of a later version are ignored.

    Raises ValueError for what is not JSON, cattrs.BaseValidationError for JSON that is no snapshot.
    """
    return _converter().loads(text, Snapshot)


@cache
def _converter() -> JsonConverter:
    """Import and make it at the first use: it compiles functions for every class."""
    from cattrs.preconf.json import make_converter

    return make_converter()
