"""Bugs that are planted on purpose: each breaks one promise, and names the tests of which one must fail.

They are mistakes that are easily made in this kind of program: a count that starts one too late, a permit that is not
given back, a cut that is taken for an end, a deadline that is not kept.

A mutant is found by what it breaks, in the terms of `operators.py`. A refactoring that changes no behaviour edits none;
one that renames or moves a class, a method or an attribute edits the name here.
"""

from . import failures, http, otp, request, routing, wire, workers
from .mutant import Mutant

__all__ = ["MUTANTS", "Mutant"]

MUTANTS: tuple[Mutant, ...] = (
    *otp.MUTANTS,
    *http.MUTANTS,
    *failures.MUTANTS,
    *wire.MUTANTS,
    *workers.MUTANTS,
    *routing.MUTANTS,
    *request.MUTANTS,
)
