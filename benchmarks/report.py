"""The results: tables for readers, JSON for programs."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .goals import goals_table
from .suites import Section

PACKAGES = ("trio", "httpx", "openai", "litellm", "pydantic-ai-slim", "tensorzero")


def machine() -> str:
    """Return the versions and the machine of this run."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    processors = [line for line in _cpuinfo() if line.startswith("model name")]
    name = processors[0].partition(":")[2].strip() if processors else platform.machine()
    packages = ", ".join(f"{package} {number}" for package, number in found.items())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {packages}; {max(len(processors), 1)} × {name}, {platform.system()}"


def _cpuinfo() -> Sequence[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else ()


def section_text(section: Section) -> str:
    """Return one section as Markdown."""
    align = ["---", *["--:"] * (len(section.head) - 1)]
    lines = [f"### {section.title}", ""]
    if section.note:
        lines += [section.note, ""]
    lines += [f"| {' | '.join(cells)} |" for cells in (section.head, align, *section.rows)]
    return "\n".join([*lines, ""])


def report_text(runs: Sequence[Sequence[Section]], *, quick: bool) -> str:
    """Return the whole report; without goals after a quick run, which proves nothing about them."""
    goals = [] if quick else ["## Goals", "", goals_text(runs), ""]
    return "\n".join([*goals, "## Measurements", "", measurements_text(runs)])


def goals_text(runs: Sequence[Sequence[Section]]) -> str:
    """Return the table of goals, with the figures of each run."""
    return goals_table([figures_of(sections) for sections in runs])


def measurements_text(runs: Sequence[Sequence[Section]]) -> str:
    """Return all tables of the last run."""
    return "\n".join([f"{machine()}.", "", *map(section_text, runs[-1])])


PARTS = ("goals", "measurements")


def page_with(page: str, goals: str, measurements: str) -> str:
    """Return `page` with new text between its marks, such as `<!-- goals -->` and `<!-- /goals -->`."""
    for part, text in zip(PARTS, (goals, measurements), strict=True):
        before, mark, rest = page.partition(f"<!-- {part} -->\n")
        _, end, after = rest.partition(f"<!-- /{part} -->")
        if not mark or not end:
            raise ValueError(f"the page has no marks for its {part}")
        page = f"{before}{mark}\n{text.strip()}\n\n{end}{after}"
    return page


def figures_of(sections: Sequence[Section]) -> Mapping[str, float]:
    """Return the figures of a run by name."""
    return {name: value for section in sections for name, value in section.figures.items()}


def report_json(runs: Sequence[Sequence[Section]]) -> str:
    """Return the figures of every run, and every round that was compared with the floor."""
    report = {"machine": machine(), "runs": [_run_as_json(sections) for sections in runs]}
    return json.dumps(report, indent=1)


def _run_as_json(sections: Sequence[Section]) -> Mapping[str, object]:
    measured = {
        section.title: [
            {"client": row.client, "rounds": [asdict(one) for one in row.rounds]} for row in section.measured
        ]
        for section in sections
        if section.measured
    }
    return {"figures": figures_of(sections), "measured": measured}
