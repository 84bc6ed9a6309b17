"""`python -m benchmarks [--quick]`: measure, and print what came of it."""

from __future__ import annotations

import argparse

from .report import table
from .rounds import measure, mock_upstream
from .workload import Workload

CLIENTS = ("floor", "ours", "bare_httpx", "openai_sdk")
STREAMED = {1: (1, 100), 10: (5, 300), 100: (20, 500)}
"""Streams at a time → milliseconds between two pieces, requests: slow enough that the floor idles half the time."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of each: does it work at all?")
    quick = parser.parse_args().quick
    with mock_upstream() as address:
        for concurrency, (gap, requests) in STREAMED.items():
            workload = Workload(f"chunks-20.gap-{gap}", 20 if quick else requests, concurrency)
            rows = measure(address, CLIENTS, workload, 1 if quick else 7)
            print(table(f"Streamed, 20 pieces, {concurrency} at a time", rows))


if __name__ == "__main__":
    main()
