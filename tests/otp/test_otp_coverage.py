"""Every numbered behaviour has a test that names it, and the kernel imports, sizes and exports what it should."""

import ast
import re
import sys
from pathlib import Path

import cortex_trio.otp

HERE = Path(__file__).parent
KERNEL = Path(cortex_trio.otp.__file__).parent

# The numbers of the behaviours of the kernel; the docstring of a test begins with those that it tests.
NUMBERED = {
    *range(1, 5), *range(6, 11), *range(12, 18), *range(19, 23), 24, 25, 27, 28, 30, 31, 32, 33, 35, 36,
    *range(38, 43), 44, 45, *range(46, 50), *range(52, 56), *range(57, 64), *range(65, 72), *range(73, 78),
    79, 80, *range(82, 95), *range(96, 105), *range(106, 110), *range(111, 123), *range(124, 127), 128, 129,
    *range(131, 139),
}  # fmt: skip


def test_every_numbered_behaviour_has_a_test() -> None:
    covered: set[int] = set()
    for file in HERE.glob("test_otp_*.py"):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name.startswith(
                "test_"
            ):
                numbers = re.match(r"(\d+(?:, \d+)*)\.", ast.get_docstring(function) or "")
                covered |= {int(number) for number in numbers[1].split(", ")} if numbers else set()
    assert covered - NUMBERED == set()
    assert NUMBERED - covered == set()


def test_the_kernel_imports_nothing_else_of_this_project() -> None:
    allowed = {"trio", "attrs", "outcome"}
    for file in KERNEL.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1, f"{file.name} imports from another package"
            elif isinstance(node, ast.ImportFrom | ast.Import):
                names = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                )
                for name in names:
                    top = name.split(".")[0]
                    assert top in allowed or top in sys.stdlib_module_names, f"{file.name} imports {name}"


def test_every_file_of_the_kernel_is_short() -> None:
    assert [file.name for file in KERNEL.glob("*.py") if len(file.read_text().splitlines()) > 300] == []


def test_everything_public_is_exported() -> None:
    exported = set(cortex_trio.otp.__all__)
    visible = {
        name
        for name, value in vars(cortex_trio.otp).items()
        if not name.startswith("_") and not isinstance(value, type(ast))
    }
    assert exported == visible
    assert list(cortex_trio.otp.__all__) == sorted(cortex_trio.otp.__all__, key=_in_ruff_order)


def _in_ruff_order(name: str) -> tuple[int, str]:
    """CONSTANTS, Classes, functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)
