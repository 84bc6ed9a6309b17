"""Workers that come, change and go while the gateway runs, and no stream is dropped over it."""

from __future__ import annotations

from contextlib import suppress
from typing import final

import trio

from ..failures import ConfigError
from ..otp import (
    ActorExited,
    AlreadyRegistered,
    AlreadyStarted,
    DynamicSupervisor,
    NotFound,
    Ref,
    StartFailed,
)
from ..otp.nursery import open_flat_nursery
from ..telemetry import WorkerAdded, WorkerRemoved
from .health import lift_cooldowns
from .runtime import Runtime
from .settings.config import Config, WorkerConfig
from .transport.connections import Connector
from .tree import worker_child
from .workers.calls import call_with_retry
from .workers.cooldowns import Cooldowns
from .workers.endpoint import Endpoint
from .workers.health_monitor import HealthMonitor
from .workers.keys import KeyManager
from .workers.registry import WorkerRegistry
from .workers.worker import Worker, WorkerState

STEP_SECONDS = 10.0
"""What a change that is not given up half-way may take; a worker's actor has five seconds to stop."""


def worker_state(name: str, config: WorkerConfig, connect: Connector, cooldowns: Cooldowns) -> WorkerState:
    """What is known of a worker before its actor runs, and after."""
    return WorkerState(name, Endpoint(config, connect(config)), Ref(name), cooldowns)


@final
class Changes:
    """Adds workers, changes them, lets them go. Its methods may be called from any task; reloads take turns."""

    def __init__(self, runtime: Runtime, connect: Connector) -> None:
        self._runtime = runtime
        self._connect = connect
        self._reloading = trio.Lock()

    # -------------------------------------------------------------- coming

    async def add(self, name: str, config: WorkerConfig) -> None:
        """Start a worker. Raises ConfigError if the name is taken. Cancelled, it is not begun or done to its end."""
        runtime = self._runtime
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_free(name)
        state = worker_state(name, config, self._connect, runtime.cooldowns)
        with trio.fail_after(STEP_SECONDS, shield=True):  # half added is no state to stay in
            try:
                await call_with_retry(runtime.keys, KeyManager.set_keys, name, config.api_keys)
                await self._start(state)
            except StartFailed as error:
                if isinstance(error.__cause__, AlreadyRegistered):
                    # Another task has added a worker of this name; the keys of that worker count.
                    first = runtime.table.workers[name]
                    await call_with_retry(runtime.keys, KeyManager.set_keys, name, first.config.api_keys)
                    raise ConfigError(f"$.{name}", "the name is taken by a worker that is here") from None
                raise
            finally:
                if runtime.table.workers.get(name) is not state:
                    await state.connections.aclose()
        runtime.telemetry.emit(WorkerAdded(name, state.kind.name))
        runtime.wait_queue.wake_all()

    def _check_free(self, name: str) -> None:
        if known := self._runtime.table.workers.get(name):
            whose = "that is still being removed" if known.draining else "that is here"
            raise ConfigError(f"$.{name}", f"the name is taken by a worker {whose}")

    async def _start(self, state: WorkerState) -> None:
        """Start its actor; a supervisor that dies over it is followed by one that starts all in the table."""
        runtime = self._runtime
        while runtime.table.workers.get(state.name) is not state:
            try:
                child = worker_child(runtime, state)
                await call_with_retry(runtime.workers, DynamicSupervisor.start_child, child)
                return
            except AlreadyStarted:
                return  # by the next supervisor, which found it in the table after all
            except ActorExited as exited:
                if not exited.started:
                    raise

    # -------------------------------------------------------------- changing

    async def change_to(self, new: Config, drain: float) -> None:
        """Add, change and remove workers until they are those of `new`. Raises ConfigError with nothing changed."""
        async with self._reloading:
            old = {name: s.config for name, s in self._runtime.table.workers.items() if not s.draining}
            added = [name for name in new.workers if name not in old]
            for name in added:
                self._check_free(name)
            for worker in new.workers.values():
                self._connect.check(worker)
            self._connect.max_idle = new.max_idle_connections
            for name in added:
                await self.add(name, new.workers[name])
            for name in [name for name in new.workers if name in old]:
                state = self._runtime.table.workers.get(name)
                if state is not None and not state.draining and self._is_another(state, new.workers[name]):
                    await self._reconfigure(state, new.workers[name])
            await self._adopt(new)
            lift_cooldowns(self._runtime)
            async with open_flat_nursery() as nursery:
                for name in [name for name in old if name not in new.workers]:
                    nursery.start_soon(self._remove_if_there, name, drain)

    def _is_another(self, state: WorkerState, new: WorkerConfig) -> bool:
        """Is the worker configured otherwise, or reached otherwise: by another proxy, with other CAs or limits?"""
        return new != state.config or self._connect.is_out_of_date(state.connections, new)

    async def _adopt(self, new: Config) -> None:
        """What is said of the gateway as a whole."""
        runtime = self._runtime
        rescheduled = runtime.config.health_check_interval != new.health_check_interval
        runtime.config = new
        if rescheduled:
            runtime.health.cast(HealthMonitor.reschedule)
        runtime.cooldowns.rate_limit_seconds = new.rate_limit_rest
        await call_with_retry(runtime.keys, KeyManager.set_strategy, new.key_strategy)

    async def _remove_if_there(self, name: str, drain: float) -> None:
        with suppress(KeyError):  # another task removes it at the same time: no reason to stop the reload
            await self.remove(name, drain)

    async def _reconfigure(self, state: WorkerState, config: WorkerConfig) -> None:
        runtime = self._runtime
        before = state.endpoint
        await trio.lowlevel.checkpoint_if_cancelled()
        after = Endpoint(config, self._connect(config))
        try:
            with trio.fail_after(STEP_SECONDS, shield=True):  # half changed is no state to stay in
                await call_with_retry(state.ref, Worker.reconfigure, after)
                await call_with_retry(runtime.keys, KeyManager.set_keys, state.name, config.api_keys)
        finally:
            if state.endpoint is not after:
                await after.connections.aclose()
        if not after.is_same_server(before):
            runtime.cooldowns.forget(state.name)  # what another server said
        unused = [old for old in runtime.retired if not old.users]
        runtime.retired = [*(old for old in runtime.retired if old.users), before.connections]
        for old in unused:
            await old.aclose()
        await before.connections.retire()

    # -------------------------------------------------------------- going

    async def remove(self, name: str, drain: float) -> None:
        """Let its streams end for up to `drain` seconds, then take it out of the tree. Raises KeyError."""
        runtime = self._runtime
        state = runtime.table.workers.get(name)
        if state is None or state.draining:
            raise KeyError(name)
        if not await call_with_retry(state.ref, Worker.drain):
            raise KeyError(name)  # another task has just begun to remove it
        runtime.wait_queue.wake_all()  # a call that waits for this worker must not wait any longer
        try:
            with trio.move_on_after(drain):
                await state.drained.wait()
        finally:  # also when the caller has no more patience: half removed is no state to stay in
            with trio.move_on_after(STEP_SECONDS, shield=True):
                await call_with_retry(runtime.keys, KeyManager.remove, name)
                await call_with_retry(runtime.registry, WorkerRegistry.unregister, name)
                await self._stop(state)
                await state.connections.aclose()
            runtime.wait_queue.wake_all()
            runtime.telemetry.emit(WorkerRemoved(name, state.kind.name))

    async def _stop(self, state: WorkerState) -> None:
        """Stop the actor of one that is in the table no more: no supervisor that comes after would start it."""
        with suppress(NotFound):
            try:
                await call_with_retry(self._runtime.workers, DynamicSupervisor.terminate_child, state.ref)
            except ActorExited as exited:
                if not exited.started:
                    raise
