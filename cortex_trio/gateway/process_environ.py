"""The environment of this process: the only module that reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping


def environment() -> Mapping[str, str]:
    """Return the environment of this process."""
    return os.environ
