"""What an operator and a crash do to a running gateway: kill, reload, replace, add, remove, limit, check, inspect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import final

import attrs
import trio

from ...failures import ConfigError, CortexError
from ...gateway.cortex import Cortex
from ...gateway.settings.config import Config, WorkerConfig
from ...messages import Messages
from ...otp import ActorError
from ...simulator.simulator import Simulator
from .faulty_provider import FaultyProvider
from .plan import Intervention, Plan, PlannedProvider
from .recorder import DoneIntervention, Recorder

REPLACE_DRAIN_SECONDS = 5.0
DRAIN_SECONDS = 30.0
"""Of a reload without a drain of its own: the default of `Cortex.reload`."""
OTHER_TIMEOUT_SECONDS = 45.0
"""A reload switches the time-out of a worker between this one and the default."""
PROMPT: Messages = "Hi"
LIMITED_KEYS = 2
"""How many API keys of a provider a limit is about."""


@final
class Operator:
    """Executes interventions. It knows the configuration of the gateway, as an operator does."""

    def __init__(
        self,
        plan: Plan,
        recorder: Recorder,
        simulator: Simulator,
        providers: Mapping[str, FaultyProvider],
    ) -> None:
        self._plan = plan
        self._recorder = recorder
        self._simulator = simulator
        self._providers = providers
        self._workers = {
            planned.name: self._worker(planned) for planned in plan.providers if planned.is_present
        }

    @property
    def config(self) -> Config:
        """The configuration of the gateway. Raises ConfigError if all workers were removed."""
        return Config(workers=self._workers, **self._plan.config)

    async def act(self, cortex: Cortex, planned: Intervention) -> None:
        """Wait for the planned round of the loop, then act."""
        for _ in range(planned.rounds):
            await trio.lowlevel.checkpoint()
        self._recorder.mark(planned.target, planned.action)
        self._recorder.counts[planned.action] += 1
        began = trio.current_time()
        try:
            await ACTIONS[planned.action](self, cortex, planned)
        except (CortexError, ActorError, KeyError) as error:
            self._recorder.trace(f"{planned.action} {planned.target}: {type(error).__name__}")
        self._recorder.interventions.append(DoneIntervention(planned, began, trio.current_time()))

    async def kill(self, cortex: Cortex, planned: Intervention) -> None:
        self._recorder.kills.append((trio.current_time(), planned.target))
        cortex.actor(planned.target).kill()

    async def reload(self, cortex: Cortex, planned: Intervention) -> None:
        """Reload the same configuration, but for the time-out of one worker. It ends the cooldowns of all workers."""
        with self._recorder.configuring(*self._providers):
            before = self._workers
            if planned.target in before:
                worker = before[planned.target]
                timeout = planned.seconds or (OTHER_TIMEOUT_SECONDS if worker.timeout is None else None)
                self._workers = {**before, planned.target: attrs.evolve(worker, timeout=timeout)}
            try:
                await cortex.reload(self.config, drain=planned.seconds or DRAIN_SECONDS)
            except ConfigError:  # nothing was changed
                self._workers = before
                raise

    async def replace(self, cortex: Cortex, planned: Intervention) -> None:
        """Remove a worker and add it again. The configuration of the gateway stays as it was."""
        with self._recorder.configuring(planned.target):
            await cortex.remove_worker(planned.target, drain=REPLACE_DRAIN_SECONDS)
            await cortex.add_worker(planned.target, self._worker(self._planned(planned.target)))

    async def add(self, cortex: Cortex, planned: Intervention) -> None:
        """Add a worker that was not there from the beginning."""
        with self._recorder.configuring(planned.target):
            worker = self._worker(self._planned(planned.target))
            await cortex.add_worker(planned.target, worker)
            self._workers = {**self._workers, planned.target: worker}

    async def remove(self, cortex: Cortex, planned: Intervention) -> None:
        with self._recorder.configuring(planned.target):
            await cortex.remove_worker(planned.target, drain=planned.seconds)
            self._workers = {name: worker for name, worker in self._workers.items() if name != planned.target}

    async def limit(self, cortex: Cortex, planned: Intervention) -> None:
        """The provider limits some of its API keys."""
        for key in self._simulator[planned.target].api_keys[:LIMITED_KEYS]:
            self._providers[planned.target].limit_key(key, planned.seconds)

    async def check(self, cortex: Cortex, planned: Intervention) -> None:
        with self._recorder.configuring(*self._providers):
            await cortex.check_health()

    async def inspect(self, cortex: Cortex, planned: Intervention) -> None:
        """List the workers and explain the selection while everything else goes on."""
        if await cortex.list_workers() and not cortex.explain(PROMPT):
            self._recorder.record_violation("explain() is empty although there are workers")

    def _planned(self, name: str) -> PlannedProvider:
        return next(planned for planned in self._plan.providers if planned.name == name)

    def _worker(self, planned: PlannedProvider) -> WorkerConfig:
        return self._simulator[planned.name].worker(**planned.settings)


ACTIONS: Mapping[str, Callable[[Operator, Cortex, Intervention], Awaitable[None]]] = {
    "kill": Operator.kill,
    "reload": Operator.reload,
    "replace": Operator.replace,
    "add": Operator.add,
    "remove": Operator.remove,
    "limit": Operator.limit,
    "check": Operator.check,
    "inspect": Operator.inspect,
}
