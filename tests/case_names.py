"""Names of parametrised cases that are the same in every process, as pytest-xdist needs them."""

import re

LONGEST = 40


def shown(value: object) -> str:
    """Return the beginning of a value's text, without addresses in memory."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))[:LONGEST]
