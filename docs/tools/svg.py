"""Just enough SVG for the pictures of these pages: boxes, lines and words, as plain text."""

from __future__ import annotations

from html import escape

INK, PALE, PAPER = "#24292f", "#8c959f", "#ffffff"
RED, GREEN, BLUE, SAND = "#cf222e", "#2da44e", "#0969da", "#f6f3ea"
FONT = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"


def box(x: float, y: float, width: float, height: float, fill: str = PAPER, edge: str = INK) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" '
        f'fill="{fill}" stroke="{edge}"/>'
    )


def words(x: float, y: float, text: str, *, size: int = 13, colour: str = INK, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'


def line(*points: tuple[float, float], colour: str = INK, dashed: bool = False, arrow: bool = False) -> str:
    route = " ".join(f"{x:g},{y:g}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    head = f' marker-end="url(#arrow-{colour[1:]})"' if arrow else ""
    return f'<polyline points="{route}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}{head}/>'


def picture(width: int, height: int, title: str, *shapes: str) -> str:
    """The whole file; the background is paper, so that it reads on dark pages as well."""
    heads = "".join(
        f'<marker id="arrow-{colour[1:]}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z" fill="{colour}"/></marker>'
        for colour in (INK, PALE, BLUE, RED, GREEN)
    )
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" font-family="{FONT}">'
    )
    paper = f'<rect width="{width}" height="{height}" rx="10" fill="{PAPER}"/>'
    return "\n".join(
        (opening, f"<title>{escape(title)}</title>", f"<defs>{heads}</defs>", paper, *shapes, "</svg>", "")
    )
