"""One run as an SVG: a lane for each worker with its status, breaker, key cooldowns, requests and faults over time.

Every shape is one line of text, so that two timelines can be compared with diff.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from .interventions import ACTIONS
from .plan import ACTORS
from .recorder import Recorder, TimelineMark, WorkerSample

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
SERVED, FAILED, FAULT, KILL, INK = "#2f7d4f", "#c0392b", "#5b6b7a", "#111111", "#333333"


def draw_timeline(recorder: Recorder, hours: float) -> str:
    """Draw what `run_seed(seed, hours)` recorded."""
    seconds = hours * HOUR
    names = list(recorder.lanes)
    height = TOP + len(names) * (LANE + GAP) + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="11" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *_heading(recorder, hours),
        *_hours(seconds, height),
        *_actors(recorder.marks, seconds),
    ]
    for place, name in enumerate(names):
        marks = [mark for mark in recorder.marks if mark.target == name]
        lines += _lane(name, TOP + place * (LANE + GAP), recorder.lanes[name], marks, seconds)
    return "\n".join([*lines, *_legend(height), "</svg>", ""])


def _heading(recorder: Recorder, hours: float) -> Iterator[str]:
    served = sum(record.is_served for record in recorder.calls)
    result = f"{len(recorder.violations) or 'no'} invariants violated"
    yield f'<text x="{LEFT}" y="24" font-size="16" font-weight="600">seed {recorder.seed}, {hours:g} hours</text>'
    yield (
        f'<text x="{LEFT}" y="42">{len(recorder.calls):,} calls, {served:,} answered whole · '
        f"{len(recorder.attempts):,} requests · {sum(recorder.injected.values()):,} faults · "
        f"{len(recorder.kills)} actors killed · {result}</text>"
    )


def _hours(seconds: float, height: int) -> Iterator[str]:
    hours = seconds / HOUR
    step = next((step for step in (0.25, 0.5, 1, 2, 3, 6, 12, 24) if hours / step <= 13), 48)
    for number in range(int(hours / step) + 1):
        x = _x(number * step * HOUR, seconds)
        yield f'<line x1="{x}" y1="{TOP - 8}" x2="{x}" y2="{height - BOTTOM}" stroke="#e6e6e6"/>'
        yield f'<text x="{x}" y="{height - BOTTOM + 14}" text-anchor="middle" fill="#777">{number * step:g} h</text>'


def _actors(marks: Sequence[TimelineMark], seconds: float) -> Iterator[str]:
    """Kills of the actors that every gateway has."""
    yield f'<text x="{LEFT - 10}" y="{TOP - 16}" text-anchor="end">tree</text>'
    for mark in marks:
        if mark.event == "kill" and mark.target in ACTORS:
            yield _cross(_x(mark.at, seconds), TOP - 20, f"{mark.target} killed")


def _lane(
    name: str, top: float, samples: Sequence[WorkerSample], marks: Sequence[TimelineMark], seconds: float
) -> Iterator[str]:
    yield f'<text x="{LEFT - 10}" y="{top + 32}" text-anchor="end" font-weight="600">{escape(name)}</text>'
    for sample, until in _spans(samples, seconds):
        x, width = _x(sample.at, seconds), _width(until - sample.at, seconds)
        yield _rect(x, top + 18, width, 20, STATUS[sample.status], f"{sample.status}")
        if sample.breaker in BREAKER:
            yield _rect(x, top + 40, width, 5, BREAKER[sample.breaker], f"breaker {sample.breaker}")
        if sample.keys_cooling_down:
            high = 12 * sample.keys_cooling_down / sample.keys
            title = f"{sample.keys_cooling_down} of {sample.keys} keys cooling down"
            yield _rect(x, top + 60 - high, width, high, "#7d8fb3", title)
    for mark in marks:
        yield from _mark(mark, top, seconds)


def _mark(mark: TimelineMark, top: float, seconds: float) -> Iterator[str]:
    x = _x(mark.at, seconds)
    if mark.until is not None:
        yield _rect(x, top + 4, max(_width(mark.until - mark.at, seconds), 1.5), 10, FAULT, mark.event)
    elif mark.event == "kill":
        yield _cross(x, top + 28, "killed")
    elif mark.event not in ACTIONS:
        colour = SERVED if mark.event == "served" else FAILED
        high = 6 if mark.event == "served" else 10
        yield _line(x, top + 38 - high, high, colour, mark.event)


def _spans(samples: Sequence[WorkerSample], seconds: float) -> Iterator[tuple[WorkerSample, float]]:
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
        ("fault", FAULT),
        ("served", SERVED),
        ("failed", FAILED),
    ]
    for place, (label, colour) in enumerate(items):
        x = LEFT + place * 111
        yield f'<rect x="{x}" y="{height - 32}" width="11" height="11" fill="{colour}"/>'
        yield f'<text x="{x + 16}" y="{height - 22}">{label.replace("_", " ")}</text>'
    yield f'<text x="{LEFT}" y="{height - 6}" fill="#777">✕ an actor was killed</text>'


def _x(at: float, seconds: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * min(at, seconds) / seconds, 1)


def _width(lasts: float, seconds: float) -> float:
    return round((WIDTH - LEFT - RIGHT) * lasts / seconds, 1)


def _rect(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    return (
        f'<rect x="{x}" y="{y:g}" width="{max(width, 0.5):g}" height="{height:g}" fill="{colour}">'
        f"<title>{escape(title)}</title></rect>"
    )


def _line(x: float, y: float, high: float, colour: str, title: str) -> str:
    return f'<path d="M{x} {y:g}v{high:g}" stroke="{colour}" stroke-width="1.2"><title>{escape(title)}</title></path>'


def _cross(x: float, y: float, title: str) -> str:
    return (
        f'<path d="M{x - 4:g} {y - 4:g}l8 8m0 -8l-8 8" stroke="{KILL}" stroke-width="1.6">'
        f"<title>{escape(title)}</title></path>"
    )
