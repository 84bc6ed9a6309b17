"""Types of arguments, for argparse: each returns the value of a text or raises ArgumentTypeError. Knows no command."""

from __future__ import annotations

import argparse


def count(text: str) -> int:
    """Return a positive whole number, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 is needed, not {text!r}")
    return int(text)


def number(text: str) -> float:
    """Return a number from 0, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"a number from 0 is needed, not {text!r}")
    return value


_UNITS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "kib": 1024,
    "m": 10**6,
    "mb": 10**6,
    "mib": 1024**2,
    "gib": 1024**3,
}


def byte_count(text: str) -> int:
    """Return a number of bytes, for argparse: 1000000, 32MiB, 5MB."""
    number = text.rstrip("bBkKmMgGi")
    unit = _UNITS.get(text[len(number) :].lower())
    if unit is None or not number.strip().isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"bytes are needed, such as 32MiB, not {text!r}")
    return int(number) * unit


def port(text: str) -> int:
    """Return the number of a port, for argparse."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port from 0 to 65535 is needed, not {text!r}")
    return int(text)


def positive(text: str) -> float:
    """Return a number above 0, for argparse."""
    if not (value := number(text)):
        raise argparse.ArgumentTypeError(f"a number above 0 is needed, not {text!r}")
    return value
