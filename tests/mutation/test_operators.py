"""What each operator does to a small program, and that it does not depend on how the program is written."""

import ast
from typing import Any

import pytest
from mutants.operators import After, Before, Calls, Constant, Drops, Keeps, Operator, Reads, Result, Returns
from mutants.target import find, names

PROGRAM = '''
LIMIT = 3

class Counter:
    """Counts up to a limit."""

    def __init__(self) -> None:
        self.count, self.log = 0, []

    def add(self, number: int = LIMIT) -> bool:
        new = self.count + number
        if new > LIMIT:
            self.log.append("refused")
            return False
        self.count = new
        self.log.append("added")
        return True

    @property
    def is_full(self) -> bool:
        return self.count >= LIMIT

    async def add_later(self) -> bool:
        return self.add(1)
'''

REWRITTEN = """
LIMIT = 3
class Counter:
    def __init__(self):
        self.log = []; self.count = 0
    def add(self, number=LIMIT):
        total = number + self.count
        if LIMIT < total: return self._refuse()
        self._enter("added"); self.count = total
        return True
    def _refuse(self):
        self._enter("refused")
        return False
    def _enter(self, text):
        self.log.append(text)
    @property
    def is_full(self):
        return not self.count < LIMIT
    async def add_later(self):
        return self.add(1)
"""
"""The same program after a refactoring."""


def run(program: str, qualified_name: str, operator: Operator) -> dict[str, Any]:
    target = find(ast.parse(program), qualified_name)
    assert operator.plant(target) > 0
    namespace: dict[str, Any] = {}
    exec(ast.unparse(ast.fix_missing_locations(target.module)), namespace)
    return namespace


def results(program: str, qualified_name: str, operator: Operator) -> tuple[object, ...]:
    counter = run(program, qualified_name, operator)["Counter"]()
    return counter.add(2), counter.add(2), counter.is_full, counter.count, counter.log


@pytest.mark.parametrize("program", [PROGRAM, REWRITTEN], ids=["program", "rewritten"])
@pytest.mark.parametrize(
    ("target", "operator", "expected"),
    [
        ("LIMIT", Constant("value + 1"), (True, True, True, 4, ["added", "added"])),
        ("LIMIT", Constant("9"), (True, True, False, 4, ["added", "added"])),
        ("Counter.add", Returns("number"), (2, 2, False, 0, [])),
        ("Counter.is_full", Result("not result"), (True, False, True, 2, ["added", "refused"])),
        ("Counter.add", Before("number = 1"), (True, True, False, 2, ["added", "added"])),
        ("Counter.add", After("self.count += 1"), (True, False, True, 4, ["added", "refused"])),
        ("Counter.add", Keeps("self.count"), (True, True, False, 0, ["added", "added"])),
        ("Counter.add", Reads("LIMIT", "value + 1"), (True, True, True, 4, ["added", "added"])),
        ("Counter", Reads("count", "0"), (True, True, False, 2, ["added", "added"])),
        ("Counter", Drops("log.append"), (True, False, False, 2, [])),
    ],
    ids=str,
)
def test_an_operator_has_one_effect_however_the_program_is_written(
    program: str, target: str, operator: Operator, expected: tuple[object, ...]
) -> None:
    assert results(program, target, operator) == expected


async def test_a_result_of_an_async_function_is_changed() -> None:
    counter = run(PROGRAM, "Counter.add_later", Result("(result, 'planted')"))["Counter"]()
    assert await counter.add_later() == (True, "planted")


async def test_the_results_of_calls_are_changed() -> None:
    counter = run(PROGRAM, "Counter.add_later", Calls("add", "not result"))["Counter"]()
    assert await counter.add_later() is False
    assert counter.count == 1


def test_calls_are_dropped_only_where_a_condition_holds() -> None:
    operator = Drops("log.append", when="self.count == 0")
    assert results(PROGRAM, "Counter.add", operator)[-1] == ["added", "refused"]
    assert results(PROGRAM, "Counter.add", Drops("append", when="number == 2"))[-1] == []


def test_a_call_of_a_method_and_a_write_are_no_reads() -> None:
    tree = ast.parse("class A:\n    def f(self, log: log): self.log.append(1); self.append = 2; self.log = 3")
    assert Reads("append", "None").plant(find(tree, "A")) == 0
    assert Reads("log", "None").plant(find(tree, "A")) == 1


def test_a_local_variable_is_no_read() -> None:
    assert Reads("new", "0").plant(find(ast.parse(PROGRAM), "Counter")) == 0


@pytest.mark.parametrize("name", ["Counter.subtract", "Other", "Counter.count", "Counter.add.new.x"])
def test_a_target_that_does_not_exist_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="there is no"):
        find(ast.parse(PROGRAM), name)


def test_an_operator_refuses_a_target_of_another_kind() -> None:
    tree = ast.parse(PROGRAM)
    with pytest.raises(ValueError, match="is a function"):
        Returns("1").plant(find(tree, "Counter"))
    with pytest.raises(ValueError, match="is a constant"):
        Constant("1").plant(find(tree, "Counter"))


def test_the_names_in_a_text_are_found() -> None:
    assert names("found = list(first.name(second, key=1))") == ({"first", "second"}, {"name", "key"})
