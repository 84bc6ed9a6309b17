"""One world from its beginning to its end, in virtual time. The same plan gives the same run, byte for byte."""

from __future__ import annotations

import itertools
from typing import final

import trio
import trio.testing

from ...failures import CortexError
from ...gateway.cortex import Cortex, open_cortex
from ...otp import MaxRestartsExceeded
from ...simulator.provider import SimulatedProvider
from ...simulator.seeding import seeded
from ...simulator.simulator import Simulator, open_simulator
from . import invariants, ledger
from .call_invariants import RESTART_GRACE_SECONDS, call_violations, refusal_violations
from .callers import CallRecord, make_call
from .faults import LINK_EVENTS, LINK_FAULTS, LinkFaults
from .faulty_provider import FaultyProvider
from .fixtures import prompt_of
from .giving_up import giving_up_violations, is_recovery_late
from .interventions import Operator
from .plan import Plan, PlannedFault, PlannedProvider, draw_plan
from .recorder import Recorder

RECOVERY_RETRY_SECONDS = 20.0
"""How often a worker gets a call after the faults are over, until it serves one."""
FIRST_RECOVERY_CALL = 1_000_000
"""The numbers of these calls begin here, so that they differ from the numbers of all planned calls; so many for each
worker:"""
RECOVERY_CALLS_PER_WORKER = 1_000
CLOSED_SECONDS = 700.0
"""How long the providers run after the gateway was closed: longer than any response lasts."""


def run_seed(seed: int, hours: float, *, keep_trace: bool = False) -> Recorder:
    """Run the world of `seed` for so many simulated hours.

    Args:
        seed: Decides everything that happens.
        hours: The length of the plan.
        keep_trace: Whether the recorder keeps the lines of the trace, and not only their digest.
    """
    return run_plan(draw_plan(seed, hours), keep_trace=keep_trace)


def run_plan(plan: Plan, *, keep_trace: bool = False) -> Recorder:
    """Run a plan, on a clock of its own. Returns what was observed, the violated invariants among it."""
    recorder = Recorder(plan.seed, keep_trace=keep_trace)
    with seeded(plan.seed):
        trio.run(_Run(plan, recorder).run, clock=trio.testing.MockClock(autojump_threshold=0))
    return recorder


@final
class _Run:
    def __init__(self, plan: Plan, recorder: Recorder) -> None:
        self._plan = plan
        self._recorder = recorder
        self._providers: dict[str, FaultyProvider] = {}
        self._link_faults: dict[str, LinkFaults] = {}
        self._open_calls = 0

    async def run(self) -> None:
        async with open_simulator() as sim:
            for planned in self._plan.providers:
                self._add(sim, planned)
            tasks = trio.lowlevel.current_statistics().tasks_living
            try:
                await self._run_gateway(sim)
            except MaxRestartsExceeded as error:
                self._recorder.gave_up = error
                self._recorder.trace(f"gave up: {error}")
            for link_faults in self._link_faults.values():
                link_faults.end_all()
            await trio.sleep(CLOSED_SECONDS)  # bytes on their way arrive, silent providers end
            self._check_run(sim, tasks)

    def _add(self, sim: Simulator, planned: PlannedProvider) -> None:
        faulty = FaultyProvider(planned, self._recorder.count_fault, self._recorder.record_violation)
        self._providers[planned.name] = faulty
        provider = sim.add(planned.name, faulty.respond, provider=planned.dialect)
        provider.behave_health(faulty.respond_to_check)
        provider.api_keys = planned.keys
        provider.link.latency = planned.latency
        self._link_faults[planned.name] = LinkFaults(provider.link)

    async def _run_gateway(self, sim: Simulator) -> None:
        operator = Operator(self._plan, self._recorder, sim, self._providers)
        async with open_cortex(
            operator.config, http_transport=sim.transport, on_event=self._recorder.on_event
        ) as cortex:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._make_calls, cortex)
                nursery.start_soon(self._inject_faults, sim)
                nursery.start_soon(self._intervene, operator, cortex)
                await self._check_state(cortex)
            await self._recover(cortex)
            self._recorder.trace(cortex.tree())
            self._record(invariants.worker_violations(cortex, await cortex.list_workers()))

    # ---- what happens

    async def _make_calls(self, cortex: Cortex) -> None:
        async with trio.open_nursery() as nursery:
            for planned in self._plan.calls:
                await trio.sleep_until(planned.at)
                record = CallRecord(planned)
                self._recorder.calls.append(record)
                nursery.start_soon(self._call, cortex, record)

    async def _call(self, cortex: Cortex, record: CallRecord) -> None:
        self._open_calls += 1
        try:
            await make_call(cortex, record)
        finally:
            self._open_calls -= 1
        number = record.planned.number
        record.is_rejected_on_purpose = any(number in faulty.rejected for faulty in self._providers.values())
        self._recorder.on_call(record)
        self._record(call_violations(record, self._plan.config["max_attempts"]))

    async def _inject_faults(self, sim: Simulator) -> None:
        async with trio.open_nursery() as nursery:
            for planned in self._plan.faults:
                await trio.sleep_until(planned.at)
                nursery.start_soon(self._inject, sim[planned.target], planned)

    async def _inject(self, provider: SimulatedProvider, planned: PlannedFault) -> None:
        self._recorder.mark(planned.target, planned.fault, planned.until)
        if planned.fault in LINK_EVENTS:
            self._recorder.count_fault(planned.fault)
            LINK_EVENTS[planned.fault](provider.link)
        elif planned.fault in LINK_FAULTS:
            self._recorder.count_fault(planned.fault)
            link_faults = self._link_faults[planned.target]
            link_faults.begin(planned.fault)
            await trio.sleep_until(planned.until)
            link_faults.end(planned.fault)
        else:
            faulty = self._providers[planned.target]
            faulty.faults.append(planned.fault)
            await trio.sleep_until(planned.until)
            faulty.faults.remove(planned.fault)

    async def _intervene(self, operator: Operator, cortex: Cortex) -> None:
        async with trio.open_nursery() as nursery:
            for planned in self._plan.interventions:
                await trio.sleep_until(planned.at)
                nursery.start_soon(operator.act, cortex, planned)

    async def _recover(self, cortex: Cortex) -> None:
        """End all faults. Then each worker must serve by the time its cooldowns must have ended."""
        for faulty in self._providers.values():
            faulty.is_fault_free = True
        async with trio.open_nursery() as nursery:
            for place, worker in enumerate(await cortex.list_workers()):
                first = FIRST_RECOVERY_CALL + place * RECOVERY_CALLS_PER_WORKER
                nursery.start_soon(self._wait_until_served, cortex, worker.name, first)

    async def _wait_until_served(self, cortex: Cortex, name: str, number: int) -> None:
        fault_free_at = trio.current_time()
        while True:
            try:
                await cortex.complete(prompt_of(number), worker=name)
                self._recorder.trace(f"recovered {name}")
                return
            except CortexError as refused:
                error = refused
            now = trio.current_time()
            if is_recovery_late(self._recorder.ended.get(name, ()), fault_free_at, now):
                self._recorder.record_violation(
                    f"{name} has not served for {now - fault_free_at:.0f} s after the end of all faults: {error}"
                )
                return
            number += 1
            await trio.sleep(RECOVERY_RETRY_SECONDS)

    # ---- what is checked

    def _record(self, violations: invariants.Violations) -> None:
        for violation in violations:
            self._recorder.record_violation(violation)

    async def _check_state(self, cortex: Cortex) -> None:
        while trio.current_time() < self._plan.seconds + self._plan.settle_seconds:
            await trio.sleep(self._plan.sample_seconds)
            snapshot = cortex.snapshot()
            self._recorder.sample(snapshot)
            self._record(invariants.state_violations(snapshot, self._open_calls))
            last = max((at for at, _ in self._recorder.kills), default=-RESTART_GRACE_SECONDS)
            if trio.current_time() - last > RESTART_GRACE_SECONDS:
                self._record(invariants.tree_violations(cortex))

    def _check_run(self, sim: Simulator, tasks: int) -> None:
        plan, recorder = self._plan, self._recorder
        self._record(
            itertools.chain(
                invariants.final_violations(sim, tasks),
                ledger.ledger_violations(recorder, sim, exact=plan.has_ideal_links),
                invariants.embedding_violations(sim),
            )
        )
        if plan.has_ideal_links:
            self._record(ledger.attempt_violations(recorder, sim, plan))
            self._record(ledger.hint_violations(recorder, sim, self._providers))
        for record in [record for record in recorder.calls if record.is_over]:
            self._record(refusal_violations(record, plan, recorder.kills))
            self._record(giving_up_violations(record, plan, recorder))
        if recorder.gave_up is not None and not invariants.is_restart_limit_reached(recorder.kills):
            recorder.record_violation(f"the gateway stopped without too many kills: {recorder.gave_up}")
