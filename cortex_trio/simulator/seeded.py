"""One seed, one run: whatever is decided by chance is decided by the seed.

Trio shuffles the tasks that are ready at the same moment, on purpose, so that programs do not come to rely on an
order. To replay a run the shuffling must be the same one. Trio has a switch for just that, made for Hypothesis
(`trio._core._run._hypothesis_plugin_setup`): tasks are sorted by age and then shuffled by a generator of its own.
It is private to Trio, so it is used in this module and nowhere else.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trio._core import _run

_trio_run: Any = _run  # private: its attributes have no types to rely on


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Have `trio.run` and the `random` module go by `seed` inside the block; afterwards they are as they were.

    The gateway draws from `random` as well. What still differs between two runs is the real clock: use a MockClock.
    """
    before = _trio_run._ALLOW_DETERMINISTIC_SCHEDULING, _trio_run._r.getstate(), random.getstate()
    _trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True
    _trio_run._r.seed(seed)
    random.seed(seed)
    try:
        yield
    finally:
        _trio_run._ALLOW_DETERMINISTIC_SCHEDULING = before[0]
        _trio_run._r.setstate(before[1])
        random.setstate(before[2])
