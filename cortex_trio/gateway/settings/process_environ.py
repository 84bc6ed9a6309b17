"""The environment of this process, which no other module reads, and how the value of a variable is read."""

from __future__ import annotations

import os
from collections.abc import Mapping


def environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ


_STRIPPED = " \t\r\n\v\f\ufeff\u00a0\u200b\"'\u201c\u201d\u2018\u2019"
"""Removed from both ends of a value: blanks, a byte order mark, and quotes, which `docker --env-file` keeps."""


def value_of(environ: Mapping[str, str], name: str) -> str:
    """Return the value of a variable without blanks and quotes around it; "" if it is not set."""
    return unquoted(environ.get(name, ""))


def unquoted(text: str) -> str:
    """Return `text` without blanks and quotes around it."""
    return text.strip(_STRIPPED)
