"""A thousand short lives of a gateway, each drawn from a seed, all under the same laws.

Replay one with `CORTEX_SEED=123 pytest tests/proof/test_random_schedules.py`; play them all with
`CORTEX_SCHEDULES=1000`.
"""

import os

import laws
import pytest
from play import play

SCHEDULES = int(os.environ.get("CORTEX_SCHEDULES", "150"))
ONE_SEED = os.environ.get("CORTEX_SEED")
BATCH = 20

BATCHES = [range(start, min(start + BATCH, SCHEDULES)) for start in range(0, SCHEDULES, BATCH)]


@pytest.mark.parametrize(
    "seeds",
    [range(int(ONE_SEED), int(ONE_SEED) + 1)] if ONE_SEED else BATCHES,
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
@pytest.mark.slow
def test_the_laws_hold_in_every_schedule(seeds: range) -> None:
    for seed in seeds:
        try:
            laws.hold(play(seed))
        except BaseException as error:
            error.add_note(f"replay with: CORTEX_SEED={seed} pytest tests/proof/test_random_schedules.py")
            raise


@pytest.mark.slow
def test_a_seed_plays_the_same_every_time() -> None:
    first, second = play(7), play(7)
    assert first.sent == second.sent
    assert [called.events for called in first.calls] == [called.events for called in second.calls]
