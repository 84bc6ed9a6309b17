"""Prints the Python files below some folders in which a rule of flake8-async that ./check.sh enables can be broken.

flake8-async needs half a second for a file, and most files have nothing that its rules are about:

    ASYNC101, ASYNC119    `yield` inside `with`, in a function that is no context manager and no fixture
    ASYNC102              a checkpoint in `finally`, in `__aexit__`, or in a handler that catches Cancelled
    ASYNC103              a handler that catches Cancelled and does not simply raise it again

Where in doubt a file is printed: flake8-async decides.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

MENTIONED = re.compile(r"\b(yield|finally|__aexit__|BaseException)\b|\bexcept\s*:|cancelled", re.IGNORECASE)
"""A file without these words need not be parsed."""
OF_CANCELLED = re.compile(r"BaseException|cancelled", re.IGNORECASE)
"""How a handler that catches Cancelled names it."""
SAFE_DECORATOR = re.compile(r"(^|\.)((async)?contextmanager|fixture)(\(|$)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def can_break_a_rule(text: str) -> bool:
    """Return whether flake8-async may find something in a module."""
    if not MENTIONED.search(text):
        return False
    return any(map(_is_suspect, ast.walk(ast.parse(text))))


def _is_suspect(node: ast.AST) -> bool:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return (node.name == "__aexit__" and _has_checkpoint(node.body)) or _yields_in_with(node)
        case ast.Try() | ast.TryStar():
            return _has_checkpoint(node.finalbody)
        case ast.ExceptHandler():
            return _catches_cancelled(node) and not _just_raises(node)
        case ast.alias(name=name, asname=str()):
            return bool(OF_CANCELLED.search(name))  # handlers have another name for it
    return False


def _yields_in_with(function: Function) -> bool:
    if any(SAFE_DECORATOR.search(ast.unparse(decorator)) for decorator in function.decorator_list):
        return False
    blocks = (node for node in _own(function.body) if isinstance(node, ast.With | ast.AsyncWith))
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for block in blocks for node in _own(block.body))


def _has_checkpoint(body: Iterable[ast.stmt]) -> bool:
    """Return whether a body can wait. The rule allows `await x.aclose()`."""
    for node in _own(body):
        match node:
            case ast.Await(value=ast.Call(func=ast.Attribute(attr="aclose"), args=[], keywords=[])):
                continue
            case ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                return True
    return False


def _catches_cancelled(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or bool(OF_CANCELLED.search(ast.unparse(handler.type)))


def _just_raises(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler ends with `raise`, and leaves in no other way and without a checkpoint."""
    *before, last = handler.body
    leaves = ast.Return | ast.Break | ast.Continue | ast.Yield | ast.YieldFrom | ast.Try | ast.TryStar
    return (
        isinstance(last, ast.Raise)
        and last.exc is None
        and not _has_checkpoint(before)
        and not any(isinstance(node, leaves) for node in _own(before))
    )


def _own(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Walk through statements, but not into functions and classes that they define."""
    for node in body:
        yield node
        if not isinstance(node, Function | ast.Lambda | ast.ClassDef):
            yield from _own(ast.iter_child_nodes(node))


def main(folders: Iterable[str]) -> None:
    """Print the paths."""
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.py")):
            if can_break_a_rule(path.read_text(encoding="utf-8")):
                print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
