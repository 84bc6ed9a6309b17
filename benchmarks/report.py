"""What was measured, in words: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Sequence

from .clients import client_module
from .rounds import Row


def table(title: str, rows: Sequence[Row]) -> str:
    """One workload as a Markdown table; ratios with the spread of their rounds."""
    lines = [
        f"### {title}",
        "",
        "| client | CPU per request | to the floor | to first token |",
        "|---|--:|--:|--:|",
    ]
    lines += [
        f"| {client_module(row.client).NAME} | {row.cpu.median * 1e6:,.0f} µs "
        f"| **{row.ratio.median:.2f}** ({row.ratio.low:.2f}–{row.ratio.high:.2f}) "
        f"| {row.first_token.median * 1e3:.2f} ms |"
        for row in rows
    ]
    return "\n".join([*lines, ""])
