"""The supervision tree, declared where it reads like a picture.

cortex                one_for_one
├── registry          WorkerRegistry    the workers and their states
├── keys              KeyManager        the API keys: their order, their cooldowns
├── workers           Workers           one_for_one over one Worker per configured provider
│   ├── openai        Worker
│   └── ollama        Worker
└── health            HealthMonitor     asks quiet workers whether they are well

What must survive a crash was made before the tree and is handed in: the worker table, the key ring, each
worker's connections. So any of these may be killed at any moment and nothing is forgotten.
"""

from __future__ import annotations

import math
from functools import partial

import trio

from ..otp import Child, DynamicSupervisor, Supervisor
from .health import check_all
from .runtime import Runtime
from .workers.calls import call_with_retry
from .workers.health_monitor import HealthMonitor
from .workers.keys import KeyManager
from .workers.registry import WorkerRegistry
from .workers.worker import Worker, WorkerState

ROOT_RESTARTS = 5
WORKER_RESTARTS = 20
WINDOW_SECONDS = 5.0
"""More restarts than these in the window, and the gateway gives up, loudly: something is wrong with us."""


def cortex_tree(runtime: Runtime) -> Supervisor:
    """Build the root supervisor; `otp.run` runs it."""
    return Supervisor(
        [
            Child(ref=runtime.registry, start=lambda: WorkerRegistry(runtime.table)),
            Child(ref=runtime.keys, start=lambda: KeyManager(runtime.ring)),
            Child(ref=runtime.workers, start=lambda: Workers(runtime), shutdown=math.inf),
            Child(ref=runtime.health, start=lambda: health_monitor(runtime)),
        ],
        max_restarts=ROOT_RESTARTS,
        max_seconds=WINDOW_SECONDS,
        report=runtime.telemetry.emit,
    )


class Workers(DynamicSupervisor):
    """One Worker per entry of the worker table, there again when this supervisor itself was restarted."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(
            max_restarts=WORKER_RESTARTS, max_seconds=WINDOW_SECONDS, report=runtime.telemetry.emit
        )
        self._runtime = runtime

    async def init(self) -> None:
        for state in list(self._runtime.table.workers.values()):
            await self.start_child(worker_child(self._runtime, state))


def worker_child(runtime: Runtime, state: WorkerState) -> Child[Worker]:
    """The child spec of one worker; its state is older than the child and outlives it."""

    async def register(state: WorkerState) -> None:
        # One that is in the table already need not wait for the registry, which may be waiting for it.
        if runtime.table.workers.get(state.name) is not state:
            await call_with_retry(runtime.registry, WorkerRegistry.register, state)

    def may_eject(state: WorkerState) -> bool:
        return runtime.table.may_eject(state, trio.current_time())

    return Child(ref=state.ref, start=lambda: Worker(state, register, may_eject, runtime.note_status))


def health_monitor(runtime: Runtime) -> HealthMonitor:
    """Make the actor that checks idle workers."""
    check = partial(check_all, runtime, only_quiet=True)
    return HealthMonitor(check, lambda: runtime.config.health_check_interval, runtime.random)
