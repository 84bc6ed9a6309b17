"""Where a bug is planted: a module, a class, a function or a constant, found by its qualified name."""

import ast
import builtins
from collections.abc import Iterator
from typing import TypeAlias

import attrs

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Node: TypeAlias = ast.Module | ast.ClassDef | Function | ast.Assign | ast.AnnAssign


@attrs.frozen
class Target:
    """`node` is a part of `module`; the module itself if the qualified name is empty."""

    module: ast.Module
    node: Node

    @property
    def function(self) -> Function:
        if not isinstance(self.node, Function):
            raise ValueError("the target of this operator is a function")
        return self.node

    @property
    def parameters(self) -> frozenset[str]:
        """Of the function. A class has `self`, because an operator works on its methods; a module has none."""
        if isinstance(self.node, ast.ClassDef):
            return frozenset({"self"})
        if not isinstance(self.node, Function):
            return frozenset()
        return frozenset(
            argument.arg for argument in ast.walk(self.node.args) if isinstance(argument, ast.arg)
        )

    @property
    def globals(self) -> frozenset[str]:
        """The names that the module binds."""
        return frozenset(name for statement in self.module.body for name in _bound(statement))


def find(module: ast.Module, qualified_name: str) -> Target:
    """Return the target of a name like "Class.method"; the module itself for "".

    Raises:
        ValueError: the module has no such target.
    """
    node: Node = module
    for name in filter(None, qualified_name.split(".")):
        found = [inner for inner in _statements(node) if name in _bound(inner)]
        if not found or not isinstance(found[-1], Node):
            raise ValueError(f"there is no {qualified_name}")
        node = found[-1]  # the overloads of a function stand before it
    return Target(module, node)


def names(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return which names the Python in `text` uses, and which attributes: methods and keywords count as attributes."""
    nodes = list(ast.walk(ast.parse(text)))
    bound = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    attributes |= {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
    return frozenset(used - bound - set(dir(builtins))), frozenset(attributes)


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a body, also those under an `if` or a `try`."""
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.stmt):
            yield inner
            if not isinstance(inner, ast.ClassDef | Function):
                yield from _statements(inner)


def _bound(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.Import() | ast.ImportFrom():
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in statement.names)
        case ast.Assign():
            yield from (place.id for place in statement.targets if isinstance(place, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.If() | ast.Try():
            yield from (name for inner in _statements(statement) for name in _bound(inner))
        case _:
            pass
