"""Descriptions from docstrings: of the whole, and of each parameter. Knows no type.

Sections are read in Google's form ("Args:", "Attributes:") and in Sphinx's (":param city: …").
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping

import attrs

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Attributes|Params):\s*$")
_OTHER_SECTION = re.compile(
    r"^(Returns?|Yields?|Raises|Examples?|Notes?|Warnings?|See Also|References|Todo)( \w+)?:(\s|$)"
)
_ENTRY = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_SPHINX = re.compile(r"^:param\s+(?:[^:]*\s)?(\w+):\s*(.*)$")
_SPHINX_OTHER = re.compile(r"^:(type|returns?|rtype|raises?)\b.*:")


@attrs.frozen
class Described:
    """What a docstring says."""

    text: str
    """The text before the first section."""

    parameters: Mapping[str, str]
    """The descriptions of parameters or fields, by name."""


def described(docstring: str | None) -> Described:
    """Return the descriptions in a docstring; an empty text for None."""
    text: list[str] = []
    parameters: dict[str, list[str]] = {}
    section, entry, indent = "text", None, None
    for line in inspect.cleandoc(docstring or "").splitlines():
        bare, depth = line.strip(), len(line) - len(line.lstrip())
        if sphinx := _SPHINX.match(line):
            section, entry = "sphinx", sphinx[1]
            parameters[entry] = [sphinx[2]]
        elif _SECTION.match(line):
            section, entry, indent = "entries", None, None
        elif _OTHER_SECTION.match(line) or _SPHINX_OTHER.match(line):
            section = "other"
        elif section == "text":
            text.append(line)
        elif section == "entries" and bare:
            indent = depth if indent is None else indent
            if depth == 0:
                section = "other"
            elif depth <= indent and (found := _ENTRY.match(bare)):
                entry = found[1]
                parameters[entry] = [found[2]]
            elif entry is not None:
                parameters[entry].append(bare)
        elif section == "sphinx" and bare and entry is not None:
            parameters[entry].append(bare)
    joined = {name: " ".join(filter(None, lines)) for name, lines in parameters.items()}
    return Described("\n".join(text).strip(), joined)
