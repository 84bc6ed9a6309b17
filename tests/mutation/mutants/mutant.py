"""What a mutant is, and how its bug gets into a copy of the package."""

import ast
from pathlib import Path

import attrs

from .operators import Operator
from .target import Target, find


def exam(*numbers: str) -> str:
    """Return the scenarios of the exam that must fail, in every dialect, in virtual time."""
    return f"tests/lab/test_scenarios.py -k 'virtual and ({' or '.join(numbers)})'"


@attrs.frozen
class Mutant:
    """A bug that breaks one promise, and the tests of which one must fail."""

    name: str
    """What is broken."""
    target: str
    """Where: a module of the package and a qualified name in it, as in "otp.process:Process.finish"."""
    operator: Operator
    """How."""
    promise: str
    """What the program does without the bug."""
    tests: tuple[str, ...]
    """Arguments for pytest, run one after the other until one fails: the fastest first."""

    def file(self, root: Path) -> Path:
        """Return the file of the target in the tree at `root`."""
        module, _, _ = self.target.partition(":")
        return root / "cortex_trio" / f"{module.replace('.', '/')}.py"

    def found(self, root: Path) -> Target:
        """Return the target in the tree at `root`.

        Raises:
            OSError: there is no such module.
            ValueError: there is no such target in it.
        """
        _, _, qualified_name = self.target.partition(":")
        return find(ast.parse(self.file(root).read_text(encoding="utf-8")), qualified_name)

    def planted(self, root: Path) -> str:
        """Return the text of the file with the bug in it.

        Raises:
            OSError: there is no such module.
            ValueError: there is no such target in it, or the operator changes nothing there.
        """
        target = self.found(root)
        if not self.operator.plant(target):
            raise ValueError(f"{self.name}: {self.operator} changes nothing in {self.target}")
        return ast.unparse(ast.fix_missing_locations(target.module))
