"""Plant the mutants one at a time in a copy of the tree and see whether the tests notice.

    python tests/mutation/mutate.py [--only WORDS] [--processes N]

The tests are run on the unchanged copy first: a test that fails by itself kills nothing. Exit status 1 if a mutant
survived; a survivor is a gap in the tests.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
LONGEST_SECONDS = 120
"""A mutant that makes the tests hang is noticed as well."""


def planted(mutant: Mutant, root: Path) -> tuple[Path, str]:
    """The file of a mutant and its text with the bug in it. Raises ValueError if the mutant does not fit."""
    file = root / "cortex_trio" / mutant.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: its text stands {text.count(mutant.old)} times in {mutant.file}")
    return file, text.replace(mutant.old, mutant.new)


def copy_of_the_tree(folder: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules")
            )
        elif source.exists():
            shutil.copy(source, folder / name)
    return folder


def notices(tree: Path, tests: tuple[str, ...]) -> bool:
    """Whether a test fails; hanging and not even starting count as failing."""
    try:
        done = subprocess.run(
            [*PYTEST, *tests], cwd=tree, capture_output=True, timeout=LONGEST_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode != 0


def is_killed(mutant: Mutant, original: Path) -> bool:
    """Run the mutant's tests, one after the other until one notices, in a copy of the copy."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(original, tree)
        file, text = planted(mutant, tree)
        file.write_text(text, encoding="utf-8")
        return any(notices(tree, (test,)) for test in mutant.tests)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="WORDS", help="mutants whose name holds these words")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="default: 2")
    arguments = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if arguments.only in mutant.name]
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        original = copy_of_the_tree(Path(folder))
        tests = tuple(dict.fromkeys(test for mutant in chosen for test in mutant.tests))
        if notices(original, tests):
            print("the tests fail without any mutant: nothing can be said", file=sys.stderr)
            return 2
        with ThreadPoolExecutor(arguments.processes) as executor:
            killed = list(executor.map(lambda mutant: _tried(mutant, original), chosen))
    print(f"{sum(killed)} of {len(chosen)} mutants killed in {time.monotonic() - start:.0f} s")
    return 0 if all(killed) else 1


def _tried(mutant: Mutant, original: Path) -> bool:
    killed = is_killed(mutant, original)
    print(f"{'killed  ' if killed else 'SURVIVED'}  {mutant.file}: {mutant.name}", flush=True)
    return killed


if __name__ == "__main__":
    sys.exit(main())
