"""Plant the mutants one at a time in a copy of the tree, and run for each the tests of which one must fail.

    python tests/mutation/mutate.py [--only TEXT,TEXT] [--processes N]

The tests are run on the unchanged copy first: a test that fails without a mutant kills none. Prints every mutant with
its result, and the survivors once more at the end. Exit status 1 if one survived: a survivor is a gap in the tests.
Exit status 2 if a test fails on the unchanged copy.
"""

import argparse
import os
import queue
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
from mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("cortex_trio", "tests", "pyproject.toml", "README.md", "docs", "examples", "benchmarks")
PYTEST = (
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "-x",
    "--no-header",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",
)
COMPILE = (sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "cortex_trio")
"""By their hash: a mutant of the same length, written within the same second, must not run the original's bytecode."""
SHOWN = 2_000
"""Characters at the end of the output of pytest."""
LONGEST_SECONDS = 120.0
"""For one run of tests: a mutant that makes them hang is killed as well."""


def copy_of_the_tree(folder: Path) -> Path:
    """Copy what the tests need, compiled."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules")
            )
        elif source.exists():
            shutil.copy(source, folder / name)
    subprocess.run(COMPILE, cwd=folder, check=False)  # the tests find what is no Python
    return folder


@attrs.frozen
class Killed:
    """A mutant was found by a test that failed, or by a timeout."""

    by: str
    """A test, or a timeout."""
    output: str
    """Of pytest."""

    @property
    def reason(self) -> str:
        """The line of the output that names the test that failed; the last line if none does."""
        lines = self.output.splitlines() or [""]
        return next((line for line in lines if line.startswith(("FAILED tests", "ERROR tests"))), lines[-1])


def run_tests(tree: Path, tests: str) -> Killed | None:
    """Run tests; return None if they pass."""
    environment = {
        **os.environ,
        "CORTEX_SHARED": os.environ.get("CORTEX_SHARED", str(ROOT.parent / "shared")),
    }
    try:
        done = subprocess.run(
            [*PYTEST, *shlex.split(tests)],
            cwd=tree,
            env=environment,
            capture_output=True,
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Killed("a timeout", f"no end within {LONGEST_SECONDS:g} s")
    return Killed("a test", done.stdout.decode(errors="replace")) if done.returncode != 0 else None


class Trees:
    """Copies of the tree, one for each process: used by one mutant at a time, and restored afterwards."""

    def __init__(self, folder: Path, many: int) -> None:
        self._free: queue.Queue[Path] = queue.Queue()
        first = copy_of_the_tree(folder / "0")
        self._free.put(first)
        for number in range(1, many):
            self._free.put(shutil.copytree(first, folder / str(number)))

    def run(self, tests: str) -> Killed | None:
        tree = self._free.get()
        try:
            return run_tests(tree, tests)
        finally:
            self._free.put(tree)

    def try_out(self, mutant: Mutant) -> Killed | None:
        """Plant it and run its tests, one after the other, until one fails."""
        tree = self._free.get()
        file, text = mutant.file(tree), mutant.planted(tree)
        original = file.read_text(encoding="utf-8")
        try:
            file.write_text(text, encoding="utf-8")
            return next((found for tests in mutant.tests if (found := run_tests(tree, tests))), None)
        finally:
            file.write_text(original, encoding="utf-8")
            self._free.put(tree)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT,TEXT", help="mutants whose name contains one of these"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 2, metavar="N")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    chosen = [mutant for mutant in MUTANTS if any(text.strip() in mutant.name for text in wanted)]
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="mutation-") as folder,
        ThreadPoolExecutor(arguments.processes) as executor,
    ):
        trees = Trees(Path(folder), arguments.processes)
        tests = list(dict.fromkeys(tests for mutant in chosen for tests in mutant.tests))
        for test, failed in zip(tests, executor.map(trees.run, tests), strict=True):
            if failed:
                print(f"{test} fails without any mutant:\n{failed.output[-SHOWN:]}", file=sys.stderr)
                executor.shutdown(cancel_futures=True)
                return 2
        print(f"the tests pass on the unchanged tree ({time.monotonic() - start:.0f} s)", flush=True)
        killed = list(executor.map(lambda mutant: _is_killed(trees, mutant), chosen))
    print(f"{sum(killed)} of {len(chosen)} mutants killed in {time.monotonic() - start:.0f} s")
    survivors = [mutant for mutant, is_killed in zip(chosen, killed, strict=True) if not is_killed]
    for mutant in survivors:
        print(f"survivor: {mutant.target}: {mutant.name} (promise: {mutant.promise})")
    return 1 if survivors or not chosen else 0


def _is_killed(trees: Trees, mutant: Mutant) -> bool:
    start = time.monotonic()
    found = trees.try_out(mutant)
    result = f"killed by {found.by}" if found else "SURVIVED"
    print(f"{result:<20}  {time.monotonic() - start:4.0f} s  {mutant.target}: {mutant.name}", flush=True)
    if found:
        print(f"    {found.reason}", flush=True)
    return found is not None


if __name__ == "__main__":
    sys.exit(main())
