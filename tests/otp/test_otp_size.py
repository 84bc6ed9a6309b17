"""The kernel stays small enough to be read in one go."""

import ast
import io
import tokenize
from pathlib import Path

import cortex_trio.otp

LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """Lines with code on them; comments, docstrings, imports and the list of exports are not counted."""
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        exports = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        if docstring or exports or isinstance(node, ast.Import | ast.ImportFrom):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_the_kernel_has_at_most_1100_lines_of_code() -> None:
    folder = Path(cortex_trio.otp.__file__).parent
    assert sum(code_lines(file.read_text(encoding="utf-8")) for file in folder.glob("*.py")) <= 1100
