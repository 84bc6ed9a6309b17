"""What must not grow with the size of a gateway: a selection among its workers, a lease of an API key."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from random import Random

from cortex_trio import ApiKey, WorkerConfig
from cortex_trio.gateway.routing.eligibility import Criteria
from cortex_trio.gateway.routing.index import WorkerIndex
from cortex_trio.gateway.routing.selection import Conditions, choose
from cortex_trio.gateway.routing.strategies import STRATEGIES
from cortex_trio.gateway.transport.connections import Connections
from cortex_trio.gateway.workers.cooldowns import Cooldowns
from cortex_trio.gateway.workers.endpoint import Endpoint
from cortex_trio.gateway.workers.keys import KeyRing, Lease
from cortex_trio.gateway.workers.worker import WorkerState
from cortex_trio.otp import Ref

MODEL = "mock-model"
WORKERS = (1, 10, 100, 1_000)


def _cost(action: Callable[[], object], times: int) -> float:
    """Return the CPU seconds of one call: the lowest of five series."""
    series = []
    for _ in range(5):
        start = time.process_time()
        for _ in range(times):
            action()
        series.append((time.process_time() - start) / times)
    return min(series)


def selection_costs(quick: bool) -> Mapping[str, Mapping[int, float]]:
    """By strategy: number of workers → seconds to choose the first to ask among them, and to note its end."""
    return {
        strategy: {count: _selection_cost(strategy, count, quick) for count in WORKERS}
        for strategy in STRATEGIES
    }


def _selection_cost(strategy: str, count: int, quick: bool) -> float:
    config = WorkerConfig(
        provider="openai_compatible",
        base_url="http://127.0.0.1:9/v1",
        models=(MODEL,),
        api_keys=(ApiKey("sk-bench-0123456789"),),
    )
    endpoint, cooldowns, rng = Endpoint(config, Connections(config)), Cooldowns(), Random(1)
    states = [WorkerState(f"worker-{n}", endpoint, Ref(f"worker-{n}"), cooldowns) for n in range(count)]
    index, criteria, order = WorkerIndex(states), Criteria(model=MODEL), STRATEGIES[strategy]
    conditions = Conditions(criteria, cooldowns)

    def choose_one() -> None:
        group = index.group(criteria)
        chosen = choose(group, order, conditions, now=0.0, rng=rng)
        assert chosen is not None
        index.record_turn(group, chosen)
        chosen.state.requests += 1  # as a request would: by it and by its time the next choice goes
        chosen.state.latency = 0.1 + chosen.state.requests % 7
        index.update(chosen.state)

    choose_one()  # the first of its kind arranges them
    return _cost(choose_one, 2 if quick else 2_000)


def key_ring_costs(quick: bool) -> Mapping[int, float]:
    """Number of keys of one worker → seconds to lease one and give it back."""
    costs = {}
    for count in (1, 100, 10_000):
        ring = KeyRing(Cooldowns())
        keys = tuple(ApiKey(f"sk-bench-{n:012}") for n in range(count))
        ring.set_keys("worker", keys)

        def borrow(ring: KeyRing = ring, keys: tuple[ApiKey, ...] = keys) -> None:
            lease = Lease("worker", MODEL, keys)
            assert ring.lend(lease, 0.0) is None
            lease.settled = True
            ring.report(lease)

        costs[count] = _cost(borrow, 2 if quick else max(50, 20_000 // count))
    return costs
