"""The supervision tree.

cortex                one_for_one
├── registry          WorkerRegistry    the workers and their states
├── keys              KeyManager        the API keys: their order, their cooldowns
├── workers           Workers           one_for_one over one Worker per configured provider
│   ├── openai        Worker
│   └── ollama        Worker
└── health            HealthMonitor     checks idle workers

A gateway with a store has a child `cluster` behind `health`, which shares cooldowns and breakers with other processes.
A gateway that was opened with `observe` has a last child, `observe`, which serves snapshots on a socket.

State that must survive a crash is made before the tree and passed in: the worker table, the key ring, the connections
of each worker. So any of these actors may be killed at any time, and no state is lost.
"""

from __future__ import annotations

import math
from functools import partial

import trio

from ..otp import Backoff, Child, DynamicSupervisor, Ref, Supervisor, Task
from ..telemetry.socket_server import SocketServer
from .health import check_all
from .runtime import Runtime
from .sharing.cluster import Cluster
from .sharing.state import Sharing
from .snapshots import snapshot_of
from .workers.calls import call_with_retry
from .workers.health_monitor import HealthMonitor
from .workers.keys import KeyManager
from .workers.registry import WorkerRegistry
from .workers.worker import Worker, WorkerState

ROOT_RESTARTS = 5
WORKER_RESTARTS = 20
WINDOW_SECONDS = 5.0
"""With more restarts in this window the gateway gives up and raises MaxRestartsExceeded: its own code is broken."""


def cortex_tree(runtime: Runtime, observe: SocketServer | None = None) -> Supervisor:
    """Return the root supervisor, for `otp.run`. `observe`: serves snapshots; None: no socket was wanted."""
    return Supervisor(
        [
            Child(ref=runtime.registry, start=lambda: WorkerRegistry(runtime.table)),
            Child(ref=runtime.keys, start=lambda: KeyManager(runtime.ring)),
            Child(ref=runtime.workers, start=lambda: Workers(runtime), shutdown=math.inf),
            Child(ref=runtime.health, start=lambda: _health_monitor(runtime)),
            *([] if runtime.sharing is None else [_cluster_child(runtime, runtime.sharing)]),
            *([] if observe is None else [_observe_child(runtime, observe)]),
        ],
        max_restarts=ROOT_RESTARTS,
        max_seconds=WINDOW_SECONDS,
        report=runtime.telemetry.emit,
    )


class Workers(DynamicSupervisor):
    """Supervises one Worker per entry of the worker table. When it is restarted, it starts all of them again."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(
            max_restarts=WORKER_RESTARTS, max_seconds=WINDOW_SECONDS, report=runtime.telemetry.emit
        )
        self._runtime = runtime

    async def init(self) -> None:
        for state in list(self._runtime.table.workers.values()):
            await self.start_child(worker_child(self._runtime, state))


def worker_child(runtime: Runtime, state: WorkerState) -> Child[Worker]:
    """Return the child specification of one worker. `state` outlives every process of the child."""

    async def register(state: WorkerState) -> None:
        # A worker that is in the table already need not wait for the registry: each could wait for the other.
        if runtime.table.workers.get(state.name) is not state:
            await call_with_retry(runtime.registry, WorkerRegistry.register, state)

    def may_eject(state: WorkerState) -> bool:
        return runtime.table.may_eject(state, trio.current_time())

    return Child(ref=state.ref, start=lambda: Worker(state, register, may_eject, runtime.note_status))


def _health_monitor(runtime: Runtime) -> HealthMonitor:
    """Return the actor that checks idle workers."""
    check = partial(check_all, runtime, only_idle=True)
    return HealthMonitor(check, lambda: runtime.config.health_check_interval, runtime.random)


def _cluster_child(runtime: Runtime, sharing: Sharing) -> Child[Cluster]:
    """Return the actor that uses the store. It starts again with a delay, so it cannot use up the restarts."""
    start = partial(Cluster, sharing, runtime.random)
    return Child(ref=runtime.cluster, start=start, backoff=Backoff(first=0.5, most=2.0))


def _observe_child(runtime: Runtime, server: SocketServer) -> Child[Task[None]]:
    """Return the task that serves snapshots. It is started again with a delay: it must not use up the restarts."""
    snapshot = partial(snapshot_of, runtime)
    return Child(ref=Ref("observe"), start=lambda: Task(server.run, snapshot), backoff=Backoff(first=1.0))
