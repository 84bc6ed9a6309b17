"""What was measured, in words: tables for people, JSON for programs."""

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
    """What it was measured on."""
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
    """One section as Markdown."""
    align = ["---", *["--:"] * (len(section.head) - 1)]
    lines = [f"### {section.title}", ""]
    if section.note:
        lines += [section.note, ""]
    lines += [f"| {' | '.join(cells)} |" for cells in (section.head, align, *section.rows)]
    return "\n".join([*lines, ""])


def report_text(runs: Sequence[Sequence[Section]], *, quick: bool) -> str:
    """Everything: goals first, unless it was too quick to say anything about them."""
    goals = [] if quick else ["## Goals", "", goals_text(runs), ""]
    return "\n".join([*goals, "## Measurements", "", measurements_text(runs)])


def goals_text(runs: Sequence[Sequence[Section]]) -> str:
    """Every goal beside what each run measured."""
    return goals_table([figures_of(sections) for sections in runs])


def measurements_text(runs: Sequence[Sequence[Section]]) -> str:
    """All tables, of the last run."""
    return "\n".join([f"{machine()}.", "", *map(section_text, runs[-1])])


PARTS = ("goals", "measurements")


def page_with(page: str, goals: str, measurements: str) -> str:
    """`page` with what stands between its marks, `<!-- goals -->` to `<!-- /goals -->`, said anew."""
    for part, text in zip(PARTS, (goals, measurements), strict=True):
        before, mark, rest = page.partition(f"<!-- {part} -->\n")
        _, end, after = rest.partition(f"<!-- /{part} -->")
        if not mark or not end:
            raise ValueError(f"the page has no marks for its {part}")
        page = f"{before}{mark}\n{text.strip()}\n\n{end}{after}"
    return page


def figures_of(sections: Sequence[Section]) -> Mapping[str, float]:
    """What goals are about, by name."""
    return {name: value for section in sections for name, value in section.figures.items()}


def report_json(runs: Sequence[Sequence[Section]]) -> str:
    """The figures of every run, and every round of what was measured beside the floor."""
    told = {"machine": machine(), "runs": [_run_told(sections) for sections in runs]}
    return json.dumps(told, indent=1)


def _run_told(sections: Sequence[Section]) -> Mapping[str, object]:
    measured = {
        section.title: [
            {"client": row.client, "rounds": [asdict(one) for one in row.rounds]} for row in section.measured
        ]
        for section in sections
        if section.measured
    }
    return {"figures": figures_of(sections), "measured": measured}
