"""One life as an SVG: a lane for each worker with its states, breaker, key cooldowns, requests and faults over time.

Plain text, no library: every shape is one line, so that two pictures can be compared with diff.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from .chronicle import Chronicle, Mark, Sample

WIDTH, LEFT, RIGHT = 1280, 150, 20
LANE, GAP, TOP, BOTTOM = 64, 14, 86, 70
HOUR = 3600.0

STATUS = {
    "available": "#cfe8d5",
    "unavailable": "#e2746b",
    "rate_limited": "#f2c14e",
    "quota_exceeded": "#b58fd0",
}
BREAKER = {"open": "#8c1c13", "half_open": "#e07a1f"}
SERVED, FAILED, TROUBLE, KILL, INK = "#2f7d4f", "#c0392b", "#5b6b7a", "#111111", "#333333"
INTERVENTIONS = ("kill", "reload", "replace", "check")
ACTORS = ("registry", "keys", "workers", "health")


def picture(chronicle: Chronicle, hours: float) -> str:
    """Draw what `live(seed, hours)` wrote down."""
    seconds = hours * HOUR
    names = list(chronicle.lanes)
    height = TOP + len(names) * (LANE + GAP) + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="11" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *_heading(chronicle, hours),
        *_hours(seconds, height),
        *_actors(chronicle.marks, seconds),
    ]
    for place, name in enumerate(names):
        marks = [mark for mark in chronicle.marks if mark.who == name]
        lines += _lane(name, TOP + place * (LANE + GAP), chronicle.lanes[name], marks, seconds)
    return "\n".join([*lines, *_legend(height), "</svg>", ""])


def _heading(chronicle: Chronicle, hours: float) -> Iterator[str]:
    served = sum(called.is_served for called in chronicle.calls)
    verdict = "no law broken" if not chronicle.broken else f"{len(chronicle.broken)} laws broken"
    yield f'<text x="{LEFT}" y="24" font-size="16" font-weight="600">seed {chronicle.seed}, {hours:g} hours</text>'
    yield (
        f'<text x="{LEFT}" y="42">{len(chronicle.calls):,} calls, {served:,} answered whole · '
        f"{len(chronicle.attempts):,} requests · {sum(chronicle.injected.values()):,} faults · "
        f"{len(chronicle.kills)} actors killed · {verdict}</text>"
    )


def _hours(seconds: float, height: int) -> Iterator[str]:
    hours = seconds / HOUR
    step = next((step for step in (0.25, 0.5, 1, 2, 3, 6, 12, 24) if hours / step <= 13), 48)
    for number in range(int(hours / step) + 1):
        x = _x(number * step * HOUR, seconds)
        yield f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{height - BOTTOM}" stroke="#e6e6e6"/>'
        yield f'<text x="{x}" y="{height - BOTTOM + 14}" text-anchor="middle" fill="#777">{number * step:g} h</text>'


def _actors(marks: Sequence[Mark], seconds: float) -> Iterator[str]:
    """What was done to the tree's own actors, and to all workers."""
    yield f'<text x="{LEFT - 10}" y="{TOP - 16}" text-anchor="end">tree</text>'
    for mark in marks:
        if mark.what == "kill" and mark.who in ACTORS:
            yield _cross(_x(mark.at, seconds), TOP - 20, f"{mark.who} killed")


def _lane(
    name: str, top: float, samples: Sequence[Sample], marks: Sequence[Mark], seconds: float
) -> Iterator[str]:
    yield f'<text x="{LEFT - 10}" y="{top + 32}" text-anchor="end" font-weight="600">{escape(name)}</text>'
    for sample, until in _spans(samples, seconds):
        x, width = _x(sample.at, seconds), _wide(until - sample.at, seconds)
        yield _rect(x, top + 18, width, 20, STATUS[sample.status], f"{sample.status}")
        if sample.breaker in BREAKER:
            yield _rect(x, top + 40, width, 5, BREAKER[sample.breaker], f"breaker {sample.breaker}")
        if sample.resting:
            high = 12 * sample.resting / sample.keys
            words = f"{sample.resting} of {sample.keys} keys cooling down"
            yield _rect(x, top + 60 - high, width, high, "#7d8fb3", words)
    for mark in marks:
        yield from _mark(mark, top, seconds)


def _mark(mark: Mark, top: float, seconds: float) -> Iterator[str]:
    x = _x(mark.at, seconds)
    if mark.until is not None:
        yield _rect(x, top + 4, max(_wide(mark.until - mark.at, seconds), 1.5), 10, TROUBLE, mark.what)
    elif mark.what == "kill":
        yield _cross(x, top + 28, "killed")
    elif mark.what not in INTERVENTIONS:
        colour = SERVED if mark.what == "served" else FAILED
        high = 6 if mark.what == "served" else 10
        yield _line(x, top + 38 - high, high, colour, mark.what)


def _spans(samples: Sequence[Sample], seconds: float) -> Iterator[tuple[Sample, float]]:
    ends = [sample.at for sample in samples[1:]] + [seconds]
    return (
        (sample, min(end, seconds)) for sample, end in zip(samples, ends, strict=True) if sample.at < seconds
    )


def _legend(height: int) -> Iterator[str]:
    items = [
        *STATUS.items(),
        ("breaker open", BREAKER["open"]),
        ("half open", BREAKER["half_open"]),
        ("key cooldowns", "#7d8fb3"),
        ("trouble", TROUBLE),
        ("served", SERVED),
        ("failed", FAILED),
    ]
    for place, (words, colour) in enumerate(items):
        x = LEFT + place * 111
        yield f'<rect x="{x}" y="{height - 32}" width="11" height="11" fill="{colour}"/>'
        yield f'<text x="{x + 16}" y="{height - 22}">{words.replace("_", " ")}</text>'
    yield f'<text x="{LEFT}" y="{height - 6}" fill="#777">✕ an actor was killed</text>'


def _x(at: float, seconds: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * min(at, seconds) / seconds, 1)


def _wide(lasts: float, seconds: float) -> float:
    return round((WIDTH - LEFT - RIGHT) * lasts / seconds, 1)


def _rect(x: float, y: float, width: float, height: float, colour: str, words: str) -> str:
    return (
        f'<rect x="{x}" y="{y:g}" width="{max(width, 0.5):g}" height="{height:g}" fill="{colour}">'
        f"<title>{escape(words)}</title></rect>"
    )


def _line(x: float, y: float, high: float, colour: str, words: str) -> str:
    return f'<path d="M{x} {y:g}v{high:g}" stroke="{colour}" stroke-width="1.2"><title>{escape(words)}</title></path>'


def _cross(x: float, y: float, words: str) -> str:
    return (
        f'<path d="M{x - 4:g} {y - 4:g}l8 8m0 -8l-8 8" stroke="{KILL}" stroke-width="1.6">'
        f"<title>{escape(words)}</title></path>"
    )
