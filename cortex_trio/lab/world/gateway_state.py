"""The state of a gateway at one moment, as far as the recorder and the invariants need it.

Every read of the gateway's internals that simulated worlds need is in this module.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import trio

from ...gateway.cortex import Cortex
from ...gateway.workers.status import status_of


@attrs.frozen
class WorkerState:
    name: str
    status: str
    breaker: str
    breaker_calls: int
    """Calls that the breaker remembers."""
    permits: int
    keys: int
    keys_cooling_down: int
    """API keys with a cooldown for the worker's first model."""
    models: frozenset[str]
    """Of chats and of embeddings."""
    cooldowns: int
    """Of the worker, its keys and its models together."""


@attrs.frozen
class GatewayState:
    leases: int
    """API keys that calls hold."""
    workers: Sequence[WorkerState]


def gateway_state(cortex: Cortex) -> GatewayState:
    """Read the state of a running gateway. Changes nothing."""
    runtime, now = cortex._runtime, trio.current_time()
    workers = []
    for name, state in runtime.table.workers.items():
        keys = runtime.ring.states(name)
        model, cooldowns = state.models[0], runtime.cooldowns
        status, _, _ = status_of(state, now)
        embed_model = state.kind.embed_model
        workers.append(
            WorkerState(
                name=name,
                status=status,
                breaker=state.breaker.state(now).value,
                breaker_calls=len(state.breaker._calls),
                permits=len(state.permits),
                keys=len(keys),
                keys_cooling_down=sum(
                    cooldowns.of_key(name, model, key.key, now) is not None for key in keys
                ),
                models=frozenset({*state.models, *((embed_model,) if embed_model else ())}),
                cooldowns=len(list(cooldowns.entries(name, now))),
            )
        )
    return GatewayState(runtime.ring.leased, workers)
