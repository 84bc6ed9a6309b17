"""Dense worlds of one minute, each drawn from a seed: the invariants hold in all of them.

Replay one with `CORTEX_SEED=123 pytest tests/proof/test_random_schedules.py`; `CORTEX_SCHEDULES=1000` runs as many.
"""

import os

import pytest

from cortex_trio.lab.world.dense_plan import draw_dense_plan
from cortex_trio.lab.world.run import run_plan

SCHEDULES = int(os.environ.get("CORTEX_SCHEDULES", "60"))
ONE_SEED = os.environ.get("CORTEX_SEED")
BATCH = 20

BATCHES = [range(start, min(start + BATCH, SCHEDULES)) for start in range(0, SCHEDULES, BATCH)]


@pytest.mark.parametrize(
    "seeds",
    [range(int(ONE_SEED), int(ONE_SEED) + 1)] if ONE_SEED else BATCHES,
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
@pytest.mark.slow
def test_the_invariants_hold_in_every_dense_plan(seeds: range) -> None:
    for seed in seeds:
        recorder = run_plan(draw_dense_plan(seed))
        assert recorder.gave_up is None
        assert not recorder.violations, (
            f"replay with: CORTEX_SEED={seed} pytest tests/proof/test_random_schedules.py"
        )


@pytest.mark.slow
def test_a_seed_gives_the_same_run_every_time() -> None:
    first, second = (run_plan(draw_dense_plan(7), keep_trace=True) for _ in range(2))
    assert first.lines == second.lines
    assert first.digest == second.digest != run_plan(draw_dense_plan(8)).digest
