"""Every planted bug still fits the code it is planted in; whether it is noticed, `mutate.py` finds out."""

import ast
import shlex

import pytest
from mutants import MUTANTS, Mutant
from mutate import ROOT, planted


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_and_is_python(mutant: Mutant) -> None:
    _, text = planted(mutant, ROOT)
    ast.parse(text)
    assert mutant.old != mutant.new
    for tests in mutant.tests:
        assert (ROOT / shlex.split(tests)[0]).exists(), tests


def test_there_are_many_and_their_names_are_their_own() -> None:
    assert len(MUTANTS) >= 70
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
