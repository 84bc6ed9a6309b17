"""How a bug is planted: few operators, each of which changes one thing that a function, a class or a module does.

A target is a qualified name, and an operator works on its syntax tree. So a mutant does not depend on how the code is
formatted, on the names of local variables, or on the order of lines. An operator that takes a class as its target also
works if a part of a method moves to another method of the class.

Operators at the interface of a function: `Returns`, `Result`, `Before`, `After`, `Keeps`.
Operators on what it uses: `Reads`, `Calls`, `Drops`.
Operator on a constant or a table of a module: `Constant`.

The texts in an operator are Python. They may use the parameters of the target and the names of its module, never a
local variable: a test checks that.
"""

import ast
from collections.abc import Callable, Iterator
from typing import Protocol

import attrs

from .target import Function, Node, Target


class Operator(Protocol):
    """Plants one bug."""

    def plant(self, target: Target) -> int:
        """Change the tree of the target.

        Returns:
            How many places were changed; 0 if the operator does not fit.

        Raises:
            ValueError: the target is not of the right kind, or a text is not Python.
        """
        ...

    def texts(self) -> tuple[str, ...]:
        """Return the Python in the operator."""
        ...


@attrs.frozen
class Constant:
    """A constant or a table of the module has another value: `expression`, which may use `value`, the right one."""

    expression: str

    def plant(self, target: Target) -> int:
        if not isinstance(target.node, ast.Assign | ast.AnnAssign) or target.node.value is None:
            raise ValueError("the target of Constant is a constant of a module")
        target.node.value = _with("value", target.node.value, self.expression)
        return 1

    def texts(self) -> tuple[str, ...]:
        return (self.expression,)


@attrs.frozen
class Returns:
    """The function does nothing but return `expression`."""

    expression: str

    def plant(self, target: Target) -> int:
        target.function.body = [ast.Return(_parsed(self.expression))]
        return 1

    def texts(self) -> tuple[str, ...]:
        return (self.expression,)


@attrs.frozen
class Result:
    """The function returns `expression`, which may use `result`, the right one."""

    expression: str

    def plant(self, target: Target) -> int:
        returns = [node for node in _of_this_function(target.function) if isinstance(node, ast.Return)]
        for statement in returns:
            statement.value = _with("result", statement.value or ast.Constant(None), self.expression)
        return len(returns)

    def texts(self) -> tuple[str, ...]:
        return (self.expression,)


@attrs.frozen
class Before:
    """The function runs `statements` first. They may bind a parameter anew, or return."""

    statements: str

    def plant(self, target: Target) -> int:
        target.function.body[:0] = ast.parse(self.statements).body
        return 1

    def texts(self) -> tuple[str, ...]:
        return (self.statements,)


@attrs.frozen
class After:
    """The function runs `statements` at its end, however it ends."""

    statements: str

    def plant(self, target: Target) -> int:
        body = target.function.body
        target.function.body = [ast.Try(body, [], [], ast.parse(self.statements).body)]
        return 1

    def texts(self) -> tuple[str, ...]:
        return (self.statements,)


@attrs.frozen
class Keeps:
    """The function leaves `place`, an attribute or an item, as it was before."""

    place: str

    def plant(self, target: Target) -> int:
        After(f"{self.place} = planted_before").plant(target)
        return Before(f"planted_before = {self.place}").plant(target)

    def texts(self) -> tuple[str, ...]:
        return (self.place,)


@attrs.frozen
class Reads:
    """Reads of `name` give `expression`, which may use `value`, the right one.

    `name` is an attribute of any object, or a name that the module binds. Calls of a method are not reads.
    """

    name: str
    expression: str

    def plant(self, target: Target) -> int:
        is_global = self.name in target.globals
        called = {node.func for node in ast.walk(target.node) if isinstance(node, ast.Call)}

        def is_read(node: ast.expr) -> bool:
            match node:
                case ast.Attribute(attr=self.name, ctx=ast.Load()):
                    return node not in called
                case ast.Name(id=self.name, ctx=ast.Load()):
                    return is_global
                case _:
                    return False

        return _Rewriter(is_read, lambda node: _with("value", node, self.expression)).rewrite(target.node)

    def texts(self) -> tuple[str, ...]:
        return (self.expression,)


@attrs.frozen
class Calls:
    """Calls of `name` give `expression`, which may use `result`, the right one. `name` may have dots: "woken.set"."""

    name: str
    expression: str

    def plant(self, target: Target) -> int:
        change = _Rewriter(
            lambda node: isinstance(node, ast.Call) and _is_called(node, self.name),
            lambda node: _with("result", node, self.expression),
        )
        return change.rewrite(target.node)

    def texts(self) -> tuple[str, ...]:
        return (self.expression,)


@attrs.frozen
class Drops:
    """Calls of `name` are left out, where `when` holds. `name` may have dots: "woken.set"."""

    name: str
    when: str = "True"

    def plant(self, target: Target) -> int:
        def is_dropped(node: ast.expr) -> bool:
            call = node.value if isinstance(node, ast.Await) else node
            return isinstance(call, ast.Call) and _is_called(call, self.name)

        change = _Rewriter(is_dropped, lambda node: ast.IfExp(_parsed(self.when), ast.Constant(None), node))
        return change.rewrite(target.node)

    def texts(self) -> tuple[str, ...]:
        return (self.when,)


class _Rewriter(ast.NodeTransformer):
    """Replaces the expressions that `is_meant`. Annotations stay, because no test runs them."""

    def __init__(self, is_meant: Callable[[ast.expr], bool], new: Callable[[ast.expr], ast.expr]) -> None:
        self._is_meant = is_meant
        self._new = new
        self._annotations = set[ast.AST]()
        self._count = 0

    def rewrite(self, node: Node) -> int:
        """Change `node`; return how many expressions were replaced."""
        for inner in ast.walk(node):
            if isinstance(inner, Function) and inner.returns is not None:
                self._annotations.add(inner.returns)
            elif isinstance(inner, ast.AnnAssign | ast.arg) and inner.annotation is not None:
                self._annotations.add(inner.annotation)
        self.visit(node)
        return self._count

    def visit(self, node: ast.AST) -> ast.AST:
        if node in self._annotations:
            return node
        if isinstance(node, ast.expr) and self._is_meant(node):
            self._count += 1
            return self._new(node)
        return self.generic_visit(node)


def _with(name: str, original: ast.expr, expression: str) -> ast.expr:
    """Return an expression in which `name` is `original`, evaluated once."""
    inner = ast.parse(f"lambda {name}: {expression}", mode="eval").body
    return ast.Call(inner, [original], [])


def _parsed(expression: str) -> ast.expr:
    return ast.parse(expression, mode="eval").body


def _is_called(call: ast.Call, name: str) -> bool:
    return f".{ast.unparse(call.func)}".endswith(f".{name}")


def _of_this_function(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the function runs, without those of the functions inside."""
    for inner in ast.iter_child_nodes(node):
        if not isinstance(inner, Function | ast.Lambda | ast.ClassDef):
            yield inner
            yield from _of_this_function(inner)
