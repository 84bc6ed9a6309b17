"""One world from its beginning to its end, in virtual time: the same seed lives the same life, byte for byte."""

from __future__ import annotations

import itertools
from typing import final

import attrs
import trio
import trio.testing

from ...failures import CortexError
from ...gateway.cortex import Cortex, open_cortex
from ...gateway.settings.config import Config, WorkerConfig
from ...otp import ActorError, MaxRestartsExceeded
from ...simulator.provider import SimulatedProvider
from ...simulator.seeded import seeded
from ...simulator.simulator import Simulator, open_simulator
from . import laws
from .again import broken_by_giving_up, is_back_late
from .chronicle import Chronicle
from .people import Called, ask
from .plan import Intervention, Plan, PlannedProvider, Trouble, plan_of
from .tales import prompt_of
from .troubles import LINK_TROUBLES, MOMENTS, ConnectionSettings
from .upstream import Upstream

LOOK_SECONDS = 120.0
"""How often everything is looked at."""
AGAIN_SECONDS = 20.0
"""How often a worker is tried when all is well again."""
LAST_CALL = 1_000_000
"""The numbers of calls that are in no plan begin here, so many for each worker:"""
LAST_CALLS = 1_000
LAST_SECONDS = 700.0
"""After the last event of the plan: no call lasts longer."""


def live(seed: int, hours: float, *, keep: bool = False) -> Chronicle:
    """Live the world of `seed` for `hours` hours; `keep` keeps the lines of its trace."""
    plan, chronicle = plan_of(seed, hours), Chronicle(seed, keep=keep)
    with seeded(seed):
        trio.run(_Life(plan, chronicle).run, clock=trio.testing.MockClock(autojump_threshold=0))
    return chronicle


@final
class _Life:
    def __init__(self, plan: Plan, chronicle: Chronicle) -> None:
        self._plan = plan
        self._chronicle = chronicle
        self._upstreams: dict[str, Upstream] = {}
        self._ways: dict[str, ConnectionSettings] = {}
        self._asking = 0
        self._config: Config  # of the gateway, as the last reload has left it; set before it is opened

    async def run(self) -> None:
        async with open_simulator() as sim:
            for planned in self._plan.providers:
                self._add(sim, planned)
            tasks = trio.lowlevel.current_statistics().tasks_living
            try:
                await self._with_gateway(sim)
            except MaxRestartsExceeded as error:
                self._chronicle.gave_up = error
                self._chronicle.trace(f"gave up: {error}")
            for way in self._ways.values():
                way.end_all()
            await trio.sleep(LAST_SECONDS)  # what is on its way arrives, who stalls wakes up
            self._judge(sim, tasks)

    def _add(self, sim: Simulator, planned: PlannedProvider) -> None:
        upstream = Upstream(planned, self._chronicle.inject, self._chronicle.complain)
        self._upstreams[planned.name] = upstream
        provider = sim.add(planned.name, upstream.answer, provider=planned.dialect)
        provider.behave_health(upstream.answer_check)
        provider.api_keys = planned.keys
        provider.link.latency = planned.latency
        self._ways[planned.name] = ConnectionSettings(provider.link)

    async def _with_gateway(self, sim: Simulator) -> None:
        workers = {planned.name: _worker(sim, planned) for planned in self._plan.providers}
        self._config = Config(workers=workers, **self._plan.config)
        async with open_cortex(
            self._config, http_transport=sim.transport, on_event=self._chronicle.on_event
        ) as cortex:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._callers, cortex)
                nursery.start_soon(self._breakages, sim)
                nursery.start_soon(self._interventions, sim, cortex)
                await self._look(cortex)
            await self._recover(cortex)
            self._chronicle.trace(cortex.tree())

    # ---- what happens

    async def _callers(self, cortex: Cortex) -> None:
        async with trio.open_nursery() as nursery:
            for planned in self._plan.calls:
                await trio.sleep_until(planned.at)
                called = Called(planned)
                self._chronicle.calls.append(called)
                nursery.start_soon(self._call, cortex, called)

    async def _call(self, cortex: Cortex, called: Called) -> None:
        self._asking += 1
        try:
            await ask(cortex, called)
        finally:
            self._asking -= 1
        self._chronicle.on_call(called)
        for broken in laws.broken_by_call(called, self._plan.config["max_attempts"]):
            self._chronicle.complain(broken)

    async def _breakages(self, sim: Simulator) -> None:
        async with trio.open_nursery() as nursery:
            for trouble in self._plan.troubles:
                await trio.sleep_until(trouble.at)
                nursery.start_soon(self._break, sim[trouble.who], trouble)

    async def _break(self, provider: SimulatedProvider, trouble: Trouble) -> None:
        self._chronicle.mark(trouble.who, trouble.what, trouble.until)
        if trouble.what in MOMENTS:
            self._chronicle.inject(trouble.what)
            MOMENTS[trouble.what](provider.link)
        elif trouble.what in LINK_TROUBLES:
            self._chronicle.inject(trouble.what)
            way = self._ways[trouble.who]
            way.begin(trouble.what)
            await trio.sleep_until(trouble.until)
            way.end(trouble.what)
        else:
            upstream = self._upstreams[trouble.who]
            upstream.troubles.append(trouble.what)
            await trio.sleep_until(trouble.until)
            upstream.troubles.remove(trouble.what)

    async def _interventions(self, sim: Simulator, cortex: Cortex) -> None:
        async with trio.open_nursery() as nursery:
            for planned in self._plan.interventions:
                await trio.sleep_until(planned.at)
                nursery.start_soon(self._intervene, sim, cortex, planned)

    async def _intervene(self, sim: Simulator, cortex: Cortex, planned: Intervention) -> None:
        for _ in range(
            planned.rounds
        ):  # so that it falls between any two steps of what happens at this moment
            await trio.lowlevel.checkpoint()
        self._chronicle.mark(planned.who, planned.what)
        self._chronicle.counts[planned.what] += 1
        try:
            match planned.what:
                case "kill":
                    self._chronicle.kills.append((trio.current_time(), planned.who))
                    cortex.actor(planned.who).kill()
                case "reload":
                    with self._chronicle.configuring(
                        *self._upstreams
                    ):  # it ends the cooldowns of all workers
                        await self._reload(cortex, planned.who)
                case "replace":
                    with self._chronicle.configuring(planned.who):
                        await cortex.remove_worker(planned.who, drain=5.0)
                        await cortex.add_worker(planned.who, _worker(sim, self._planned(planned.who)))
                case "check":
                    with self._chronicle.configuring(*self._upstreams):
                        await cortex.check_health()
        except (CortexError, ActorError, KeyError) as error:
            self._chronicle.trace(f"{planned.what} {planned.who}: {type(error).__name__}")

    async def _reload(self, cortex: Cortex, who: str) -> None:
        """The same configuration, but for one worker's patience."""
        config = self._config
        timeout = 45.0 if config.workers[who].timeout is None else None
        workers = {**config.workers, who: attrs.evolve(config.workers[who], timeout=timeout)}
        changed = attrs.evolve(config, workers=workers)
        await cortex.reload(changed)
        self._config = changed

    def _planned(self, name: str) -> PlannedProvider:
        return next(planned for planned in self._plan.providers if planned.name == name)

    # ---- looking at it

    async def _look(self, cortex: Cortex) -> None:
        while trio.current_time() < self._plan.seconds + LAST_SECONDS:
            await trio.sleep(LOOK_SECONDS)
            self._chronicle.sample(cortex)
            for broken in laws.broken_at_a_moment(cortex, self._asking):
                self._chronicle.complain(broken)
            last = max((at for at, _ in self._chronicle.kills), default=-laws.HEALING_SECONDS)
            if trio.current_time() - last > laws.HEALING_SECONDS:
                for broken in laws.broken_tree(cortex):
                    self._chronicle.complain(broken)

    async def _recover(self, cortex: Cortex) -> None:
        """All is well again: each worker serves within minutes, by the time its cooldowns must have ended."""
        for upstream in self._upstreams.values():
            upstream.is_calm = True
        async with trio.open_nursery() as nursery:
            for place, name in enumerate(worker.name for worker in cortex.snapshot().workers):
                nursery.start_soon(self._come_back, cortex, name, LAST_CALL + place * LAST_CALLS)

    async def _come_back(self, cortex: Cortex, name: str, number: int) -> None:
        calm_at = trio.current_time()
        while True:
            try:
                await cortex.complete(prompt_of(number), worker=name)
                self._chronicle.trace(f"back {name}")
                return
            except CortexError as refused:
                error = refused
            now = trio.current_time()
            if is_back_late(self._chronicle.ended.get(name, ()), calm_at, now):
                self._chronicle.complain(
                    f"{name} is not back {now - calm_at:.0f} s after all is well: {error}"
                )
                return
            number += 1
            await trio.sleep(AGAIN_SECONDS)

    def _judge(self, sim: Simulator, tasks: int) -> None:
        chronicle = self._chronicle
        at_the_end = laws.broken_at_the_end(sim, tasks), laws.broken_ledger(chronicle, sim)
        for broken in (*itertools.chain(*at_the_end), *laws.broken_embeddings(sim)):
            chronicle.complain(broken)
        for called in [called for called in chronicle.calls if called.is_over]:
            for broken in laws.broken_by_refusing(called, self._plan, chronicle.kills):
                chronicle.complain(broken)
            for broken in broken_by_giving_up(called, self._plan, chronicle):
                chronicle.complain(broken)
        if chronicle.gave_up is not None and not laws.may_give_up(chronicle.kills):
            chronicle.complain(f"it gave up without a reason: {chronicle.gave_up}")


def _worker(sim: Simulator, planned: PlannedProvider) -> WorkerConfig:
    return sim[planned.name].worker(**planned.settings)
