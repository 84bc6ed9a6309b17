"""Adds, changes and removes workers while the gateway runs, without dropping a stream.

A change is applied completely or not at all: its steps are shielded from cancellation, each with a timeout.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import final

import trio

from ..failures import ConfigError
from ..otp import (
    ActorError,
    ActorExited,
    AlreadyRegistered,
    AlreadyStarted,
    DynamicSupervisor,
    NotFound,
    Ref,
    StartFailed,
)
from ..otp.nursery import open_flat_nursery
from ..telemetry import Reloaded, WorkerAdded, WorkerRemoved
from .health import lift_cooldowns
from .runtime import Runtime
from .settings.config import Config, WorkerConfig
from .transport.connections import Connections, Connector
from .tree import worker_child
from .workers.calls import call_with_retry
from .workers.cooldowns import Cooldowns
from .workers.endpoint import Endpoint
from .workers.health_monitor import HealthMonitor
from .workers.keys import KeyManager
from .workers.registry import WorkerRegistry
from .workers.worker import Worker, WorkerState

log = logging.getLogger("cortex_trio")

STEP_SECONDS = 10.0
"""The timeout of a shielded step. The longest wait in it is for an actor that stops: at most five seconds."""


def worker_state(name: str, config: WorkerConfig, connector: Connector, cooldowns: Cooldowns) -> WorkerState:
    """Return the state of a new worker, which exists before its actor and outlives it. Raises ConfigError."""
    return WorkerState(name, Endpoint(config, connector(config)), Ref(name), cooldowns)


@final
class Changes:
    """Adds, changes and removes workers. Its methods may be called from any task; of several reloads one runs."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._reloading = trio.Lock()

    # -------------------------------------------------------------- adding

    async def add(self, name: str, config: WorkerConfig) -> None:
        """Start a worker. Cancelling has an effect only before the worker is added.

        Raises:
            ConfigError: the name is taken, or the worker's proxy, CA file or transport cannot be used.
        """
        runtime = self._runtime
        await trio.lowlevel.checkpoint_if_cancelled()
        self._check_name(name)
        state = worker_state(name, config, runtime.connector, runtime.cooldowns)
        # Shielded: a worker without keys or without an actor is no result.
        with trio.fail_after(STEP_SECONDS, shield=True):
            try:
                await call_with_retry(runtime.keys, KeyManager.set_keys, name, config.api_keys)
                await self._start(state)
            except StartFailed as error:
                if isinstance(error.__cause__, AlreadyRegistered):
                    # Another task has added a worker of this name meanwhile: restore the keys of that worker.
                    first = runtime.table.workers[name]
                    await call_with_retry(runtime.keys, KeyManager.set_keys, name, first.config.api_keys)
                    raise ConfigError(f"$.{name}", "the name is taken by another worker") from None
                raise
            finally:
                if runtime.table.workers.get(name) is not state:
                    await state.connections.aclose()
                if name not in runtime.table.workers:
                    # The time of the outer scope may be over. An ActorError: the error of the start counts.
                    with trio.move_on_after(STEP_SECONDS, shield=True), suppress(ActorError):
                        await call_with_retry(runtime.keys, KeyManager.remove, name)
        if runtime.telemetry.observers:
            runtime.telemetry.emit(WorkerAdded(name, state.kind.name))
        runtime.wait_queue.wake_all()

    def _check_name(self, name: str) -> None:
        if known := self._runtime.table.workers.get(name):
            which = "a worker that is still being removed" if known.draining else "another worker"
            raise ConfigError(f"$.{name}", f"the name is taken by {which}")

    async def _start(self, state: WorkerState) -> None:
        """Start the worker's actor. If the supervisor dies meanwhile, its next process starts all in the table."""
        runtime = self._runtime
        while runtime.table.workers.get(state.name) is not state:
            try:
                child = worker_child(runtime, state)
                await call_with_retry(runtime.workers, DynamicSupervisor.start_child, child)
                return
            except AlreadyStarted:
                return  # the next process of the supervisor found it in the table
            except ActorExited as exited:
                if not exited.started:
                    raise

    # -------------------------------------------------------------- changing

    async def change_to(self, new: Config, drain: float) -> None:
        """Add, change and remove workers until they are those of `new`, then apply its other settings.

        Cancelling stops between two workers: what was changed stays changed.

        Args:
            new: the configuration to reach.
            drain: seconds that the requests of removed workers have to end.

        Raises:
            ConfigError: nothing was changed.
        """
        async with self._reloading:
            old = {name: s.config for name, s in self._runtime.table.workers.items() if not s.draining}
            added = [name for name in new.workers if name not in old]
            self._check(new, added)
            self._runtime.connector.max_idle = new.max_idle_connections
            for name in added:
                await self.add(name, new.workers[name])
            kept = [name for name in new.workers if name in old]
            changed = [name for name in kept if await self._change_if_needed(name, new.workers[name])]
            await self._apply_settings(new)
            lift_cooldowns(self._runtime)
            removed = [name for name in old if name not in new.workers]
            async with open_flat_nursery() as nursery:
                for name in removed:
                    nursery.start_soon(self._remove_if_present, name, drain)
            if self._runtime.telemetry.observers:
                self._runtime.telemetry.emit(Reloaded(tuple(added), tuple(changed), tuple(removed)))

    def _check(self, new: Config, added: list[str]) -> None:
        """Raise ConfigError for what could fail later, when half of the change is done."""
        for name in added:
            self._check_name(name)
        for worker in new.workers.values():
            self._runtime.connector.check(worker)

    async def _change_if_needed(self, name: str, new: WorkerConfig) -> bool:
        """Change a worker whose configuration, proxy, CA file or connection limit is another now.

        Returns:
            Whether it was changed.
        """
        state, connector = self._runtime.table.workers.get(name), self._runtime.connector
        if state is None or state.draining:
            return False  # removed by another task
        if new == state.config and not connector.is_out_of_date(state.connections, new):
            return False
        await self._change(state, new)
        return True

    async def _change(self, state: WorkerState, config: WorkerConfig) -> None:
        runtime = self._runtime
        before = state.endpoint
        await trio.lowlevel.checkpoint_if_cancelled()
        after = Endpoint(config, runtime.connector(config))
        try:
            with trio.fail_after(STEP_SECONDS, shield=True):  # the endpoint and the keys belong together
                await call_with_retry(state.ref, Worker.reconfigure, after)
                await call_with_retry(runtime.keys, KeyManager.set_keys, state.name, config.api_keys)
        finally:
            if state.endpoint is after:
                runtime.retired_connections.append(before.connections)
            else:
                await after.connections.aclose()
        if not after.is_same_server(before):
            runtime.cooldowns.forget(state.name)  # they are about another server
        await self._close_unused(but=before.connections)
        await before.connections.retire()

    async def _close_unused(self, *, but: Connections) -> None:
        """Close the retired connections that no request uses, except `but`: a request may be about to use them."""
        runtime = self._runtime
        unused = [old for old in runtime.retired_connections if not old.users and old is not but]
        runtime.retired_connections = [old for old in runtime.retired_connections if old not in unused]
        for old in unused:
            await old.aclose()

    async def _apply_settings(self, new: Config) -> None:
        """Apply the settings that belong to no worker."""
        runtime = self._runtime
        if new.store != runtime.config.store:
            log.warning("a reload does not change the store: open the gateway again")
        reschedule = runtime.config.health_check_interval != new.health_check_interval
        runtime.config = new
        if reschedule:
            runtime.health.cast(HealthMonitor.reschedule)
        runtime.cooldowns.rate_limit_seconds = new.rate_limit_rest
        await call_with_retry(runtime.keys, KeyManager.set_strategy, new.key_strategy)

    # -------------------------------------------------------------- removing

    async def remove(self, name: str, drain: float) -> None:
        """Drain a worker, then take it out of the tree and close its connections.

        Cancelling ends the wait for its requests; the removal is completed, and the requests fail.

        Args:
            name: of the worker.
            drain: seconds that its requests have to end.

        Raises:
            KeyError: there is no such worker, or it is being removed already.
        """
        runtime = self._runtime
        state = runtime.table.workers.get(name)
        if state is None or state.draining:
            raise KeyError(name)
        if not await call_with_retry(state.ref, Worker.drain):
            raise KeyError(name)  # another task began to remove it meanwhile
        runtime.wait_queue.wake_all()  # calls that wait for this worker must choose another one
        try:
            with trio.move_on_after(drain):
                await state.drained.wait()
        finally:  # also when cancelled: a worker that is draining for ever is no result
            with trio.move_on_after(STEP_SECONDS, shield=True):
                await self._take_out(state)
            runtime.wait_queue.wake_all()
            runtime.publisher.forget(name)
            if runtime.telemetry.observers:
                runtime.telemetry.emit(WorkerRemoved(name, state.kind.name))

    async def _take_out(self, state: WorkerState) -> None:
        """Take a drained worker out of the key ring, the table and the tree, and close its connections."""
        runtime = self._runtime
        try:
            await call_with_retry(runtime.keys, KeyManager.remove, state.name)
            await call_with_retry(runtime.registry, WorkerRegistry.unregister, state.name)
            await self._stop(state)
        finally:  # the end of the gateway closes only the connections of workers in the table
            await state.connections.aclose()  # it shields itself, for a short time

    async def _remove_if_present(self, name: str, drain: float) -> None:
        with suppress(KeyError):  # another task removes it at the same time
            await self.remove(name, drain)

    async def _stop(self, state: WorkerState) -> None:
        """Stop the worker's actor. It is not in the table, so no later process of the supervisor starts it again."""
        with suppress(NotFound):
            try:
                await call_with_retry(self._runtime.workers, DynamicSupervisor.terminate_child, state.ref)
            except ActorExited as exited:
                if not exited.started:
                    raise
