"""A bar chart as SVG text: CPU per streamed request, in floors. No library, readable on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from .clients import client_name
from .rounds import Row

WIDTH, BAR, GAP, LABELS = 760, 18, 6, 250
COLOURS = {"floor": "#8a8f98", "transport": "#5b8def", "ours": "#1f9d66"}
OTHERS = "#c9803a"


def bars(title: str, measured_on: str, rows: Sequence[Row]) -> str:
    """Return a chart with one bar for each client; logarithmic, because the ratios differ by a factor of 100."""
    top = 44
    height = top + len(rows) * (BAR + GAP) + 24
    most = max(row.ratio.median for row in rows)
    length_limit = WIDTH - LABELS - 70

    def length(ratio: float) -> float:
        return length_limit * (0.08 + 0.92 * math.log(max(ratio, 1.0)) / math.log(max(most, 1.1)))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#808690">',
        f'<text x="0" y="18" font-size="15" font-weight="600">{escape(title)}</text>',
        '<text x="0" y="35" font-size="11">times the floor, logarithmic; less is better</text>',
    ]
    for place, row in enumerate(sorted(rows, key=lambda row: row.ratio.median)):
        y = top + place * (BAR + GAP)
        end = LABELS + length(row.ratio.median)
        colour = COLOURS.get(row.client, OTHERS)
        parts += [
            f'<text x="{LABELS - 8}" y="{y + 13}" text-anchor="end">{escape(client_name(row.client))}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{end - LABELS:.0f}" height="{BAR}" rx="3" fill="{colour}"/>',
            f'<text x="{end + 8:.0f}" y="{y + 13}">{row.ratio.median:.2f}</text>',
        ]
    parts.append(f'<text x="0" y="{height - 6}" font-size="9">{escape(measured_on)}</text>')
    return "\n".join([*parts, "</svg>", ""])
