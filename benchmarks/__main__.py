"""`python -m benchmarks`: measure, and print the results.

--quick runs one short round of everything, to check that it works. --only SUITE … runs some suites. --runs 3 runs
everything three times and shows the three values of each goal. --page FILE writes goals and measurements between the
marks of a Markdown page, and its picture. --out FOLDER writes report.md, report.json and streamed.svg there.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from .chart import bars
from .report import goals_text, machine, measurements_text, page_with, report_json, report_text
from .rounds import mock_upstream
from .suites import SUITES, Bench, Section


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=SUITES, default=list(SUITES), metavar="SUITE")
    parser.add_argument("--runs", type=int, default=1, metavar="N")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.page:
        page_with(options.page.read_text(), "", "")  # raises for a page without marks before measuring
    runs = []
    for number in range(1, options.runs + 1):
        print(f"run {number} of {options.runs}", file=sys.stderr, flush=True)
        runs.append(_run(options.only, quick=options.quick))
        if options.out:
            _write(options.out, runs, quick=options.quick)
    print(report_text(runs, quick=options.quick))
    if options.page:
        page = options.page.read_text()
        options.page.write_text(page_with(page, goals_text(runs), measurements_text(runs)))
        _draw(options.page.parent / "pictures", runs[-1])


def _run(suites: Sequence[str], *, quick: bool) -> list[Section]:
    """Run suites and return what was measured. A suite that fails is left out, with a line on stderr."""
    sections = []
    for name in suites:
        started = time.monotonic()
        try:
            with mock_upstream() as address:
                sections.append(SUITES[name](Bench(address, quick)))
        except KeyError as missing:  # the client to compare with was left out
            print(f"  {name} was not measured: there is no {missing}", file=sys.stderr)
        except Exception:
            print(f"  {name} was not measured:\n{traceback.format_exc()}", file=sys.stderr)
        print(f"  {name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return sections


def _write(folder: Path, runs: Sequence[Sequence[Section]], *, quick: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(report_text(runs, quick=quick))
    (folder / "report.json").write_text(report_json(runs))
    _draw(folder, runs[-1])


def _draw(folder: Path, sections: Sequence[Section]) -> None:
    hundred = [row for section in sections if "100 at a time" in section.title for row in section.measured]
    rows = list({row.client: row for row in reversed(hundred)}.values())
    if rows:
        folder.mkdir(parents=True, exist_ok=True)
        title = "CPU per streamed request of 20 pieces, 100 at a time"
        (folder / "streamed.svg").write_text(bars(title, machine(), rows))


if __name__ == "__main__":
    main()
