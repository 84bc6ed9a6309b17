"""`python -m benchmarks`: measure, and print what came of it.

--quick does one short round of everything, to see that it works. --only SUITE … does some. --out FOLDER writes
report.md, report.json and streamed.svg there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .chart import bars
from .report import machine, report_json, report_text
from .rounds import mock_upstream
from .suites import SUITES, Bench, Section


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=SUITES, default=list(SUITES), metavar="SUITE")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sections = []
    with mock_upstream() as address:
        for name in options.only:
            print(f"{name} …", file=sys.stderr, flush=True)
            try:
                sections.append(SUITES[name](Bench(address, options.quick)))
            except KeyError as missing:  # a client it compares with was left out
                print(f"  {name} was not measured: there is no {missing}", file=sys.stderr)
    print(report_text(sections, quick=options.quick))
    if options.out:
        _write(options.out, sections, quick=options.quick)


def _write(folder: Path, sections: list[Section], *, quick: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(report_text(sections, quick=quick))
    (folder / "report.json").write_text(report_json(sections))
    hundred = [row for section in sections if "100 at a time" in section.title for row in section.measured]
    rows = list({row.client: row for row in reversed(hundred)}.values())
    if rows:
        title = "CPU per streamed request of 20 pieces, 100 at a time"
        (folder / "streamed.svg").write_text(bars(title, machine(), rows))


if __name__ == "__main__":
    main()
