"""Every mutant still fits the code it is planted in; whether a test fails because of it, `mutate.py` finds out."""

import ast
import functools
import re
import shlex

import pytest
from mutants import MUTANTS, Mutant
from mutants.target import names
from mutate import ROOT


def identifiers(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


@functools.cache
def of_the_package() -> frozenset[str]:
    files = (ROOT / "cortex_trio").rglob("*.py")
    return frozenset[str]().union(*(identifiers(file.read_text(encoding="utf-8")) for file in files))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_its_target_and_is_python(mutant: Mutant) -> None:
    planted = mutant.planted(ROOT)
    compile(planted, mutant.target, "exec")
    assert planted != ast.unparse(mutant.found(ROOT).module)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_uses_names_that_its_target_has(mutant: Mutant) -> None:
    """Otherwise a test would fail because of a NameError, and not because of the bug."""
    target = mutant.found(ROOT)
    known = target.parameters | target.globals | {"value", "result"}
    module = identifiers(mutant.file(ROOT).read_text(encoding="utf-8"))
    for expression in mutant.operator.texts():
        used, attributes = names(expression)
        assert used <= known
        assert {name for name in attributes if name.startswith("_")} <= module
        assert attributes <= of_the_package()


def test_the_tests_of_the_mutants_exist() -> None:
    files = {shlex.split(tests)[0] for mutant in MUTANTS for tests in mutant.tests}
    assert [file for file in sorted(files) if not (ROOT / file).exists()] == []


def test_there_are_many_and_their_names_are_their_own() -> None:
    assert len(MUTANTS) >= 70
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
