"""Reproducible runs: a seed decides everything that is random.

Trio shuffles the tasks that are ready at the same time, so that programs do not rely on their order. To replay a run,
the order must be the same. Trio has a switch for this, made for Hypothesis
(`trio._core._run._hypothesis_plugin_setup`): tasks are sorted by age and then shuffled by a random generator of Trio's
own. The switch is private to Trio, so it is used in this module only.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trio._core import _run

from ..costs import load_prices

_trio_run: Any = _run  # private: its attributes have no types


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed `trio.run` and the `random` module inside the block; afterwards both are as before.

    The gateway uses `random` as well. The real clock still differs between two runs: use a `trio.testing.MockClock`.
    The list of prices is loaded before the block: the thread in which a gateway loads it ends at a time that no seed
    decides, and Trio draws another order of the tasks then.
    """
    load_prices()
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
