"""Runs a world of two to five gateways that share a store: load, failing providers, and a store that misbehaves.

All that is random comes from the seed, and time is virtual. At the end every fault is over, and all gateways must agree
on the cooldowns.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from typing import final

import attrs
import trio
import trio.testing

from ...failures import CortexError
from ...gateway.cortex import Cortex, open_cortex
from ...gateway.settings.config import Config
from ...gateway.sharing.limits import SLICES
from ...simulator import Behaviour, SimRequest, SimulatedStore, Simulator, open_simulator, seeded
from ...telemetry import CallEnded, Event
from .invariants import WINDOW, violations
from .record import KNOWN_AFTER, CallRecord, Record, RequestRecord

GATEWAY_HEADER = "x-gateway"
LIMIT = 20
"""Of the requests of all gateways in one window of the shared limit; each gateway alone would use as many."""
PROVIDERS = ("openai", "anthropic", "groq", "gemini")


@attrs.frozen
class ClusterRun:
    """The result of a world."""

    seed: int
    gateways: int
    calls: int
    requests: int
    refused: int
    """Requests that were refused with a time."""
    trials: int
    faults: int
    """Times at which not all links worked."""
    violations: Sequence[str]
    """Empty: all invariants held."""


def run_cluster_world(seed: int, seconds: float = 120.0) -> ClusterRun:
    """Run the world of a seed for so many virtual seconds.

    Args:
        seed: decides everything that is random.
        seconds: how long load and faults last.
    """
    with seeded(seed):
        return trio.run(
            partial(_World(seed, seconds).run), clock=trio.testing.MockClock(autojump_threshold=0)
        )


@attrs.define
class _Provider:
    """What a provider does now."""

    limited_until: float = 0.0  # Trio time
    is_broken: bool = False


@final
class _World:
    def __init__(self, seed: int, seconds: float) -> None:
        self._seed = seed
        self._chance = random.Random(seed)
        self._seconds = seconds
        self._record = Record()
        self._store = SimulatedStore(seed)
        self._providers: dict[str, _Provider] = {}
        self._gateways: dict[str, Cortex] = {}

    async def run(self) -> ClusterRun:
        names = [f"gateway-{number}" for number in range(self._chance.randint(2, 5))]
        async with open_simulator() as sim, AsyncExitStack() as stack:
            for name in PROVIDERS[: self._chance.randint(2, 4)]:
                self._providers[name] = _Provider()
                sim.add(name, partial(self._respond, name))
            for name in names:
                self._gateways[name] = await stack.enter_async_context(self._open(sim, name))
            async with trio.open_nursery() as nursery:
                for name in names:
                    nursery.start_soon(self._make_calls, name)
                    nursery.start_soon(self._use_limit, name)
                nursery.start_soon(self._break_providers)
                nursery.start_soon(self._break_store)
                await trio.sleep(self._seconds)
                nursery.cancel_scope.cancel()
            self._record.limit = LIMIT + len(names) * LIMIT / SLICES
            self._store.recover()
            self._record.fault_ended(trio.current_time())
            await trio.sleep(KNOWN_AFTER)
            found = [*violations(self._record), *self._disagreements()]
        requests = self._record.requests
        return ClusterRun(
            self._seed,
            len(names),
            len(self._record.calls),
            len(requests),
            sum(request.limited_until is not None for request in requests),
            sum(request.is_trial for request in requests),
            len(self._record.faults),
            found,
        )

    def _open(self, sim: Simulator, name: str) -> AbstractAsyncContextManager[Cortex]:
        workers = {
            worker: provider.worker(priority=place, headers={GATEWAY_HEADER: name})
            for place, (worker, provider) in enumerate(sim.providers.items())
        }
        return open_cortex(
            Config(workers=workers, health_check_interval=0),
            http_transport=sim.transport,
            on_event=partial(self._note_call, name),
            store=self._store.seen_by(name),
        )

    def _note_call(self, gateway: str, event: Event) -> None:
        if isinstance(event, CallEnded):
            self._record.calls.append(CallRecord(trio.current_time(), gateway, event.overhead))

    # -------------------------------------------------------------- providers

    def _respond(self, worker: str, request: SimRequest) -> Behaviour:
        now, provider = trio.current_time(), self._providers[worker]
        gateway = request.headers[GATEWAY_HEADER]
        state = self._gateways[gateway].snapshot().worker(worker).breaker.state
        made = RequestRecord(now, gateway, worker, is_trial=state == "half_open", ended=now)
        self._record.requests.append(made)
        if provider.limited_until > now:
            made.limited_until = provider.limited_until
            return Behaviour(status=429, retry_after=provider.limited_until - now)
        if provider.is_broken:
            made.ended = now + 0.5
            return Behaviour(status=500, first_token_after=0.5)
        return Behaviour()

    async def _break_providers(self) -> None:
        while True:
            await trio.sleep(self._chance.expovariate(1 / 3))
            provider = self._providers[self._chance.choice(list(self._providers))]
            if self._chance.random() < 0.5:
                seconds = self._chance.uniform(3, 25)
                provider.limited_until = max(provider.limited_until, trio.current_time() + seconds)
            else:
                provider.is_broken = not provider.is_broken

    # -------------------------------------------------------------- load

    async def _make_calls(self, gateway: str) -> None:
        rate = self._chance.uniform(0.3, 2)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self._chance.expovariate(rate))
                nursery.start_soon(self._call, self._gateways[gateway])

    async def _call(self, cortex: Cortex) -> None:
        with suppress(CortexError):
            await cortex.complete("Hi", max_wait=0)

    async def _use_limit(self, gateway: str) -> None:
        limits = self._gateways[gateway].shared_limits
        assert limits is not None
        limit = limits.limit("team", LIMIT, lambda: WINDOW)
        while True:
            await trio.sleep(WINDOW / LIMIT)
            if limit.seconds_until(1) == 0:
                limit.charge(1)
                self._record.charges.append(trio.current_time())

    # -------------------------------------------------------------- the store

    async def _break_store(self) -> None:
        while True:
            await trio.sleep(self._chance.expovariate(1 / 8))
            self._record.fault_began(trio.current_time())
            match self._chance.randrange(7):
                case 0:
                    self._store.hang()
                case 1:
                    self._store.kill()
                case 2:
                    some = self._chance.sample(
                        list(self._gateways), self._chance.randint(1, len(self._gateways))
                    )
                    self._store.partition(*some)
                case 3:
                    self._store.restart_empty()
                case 4:
                    self._store.behave(drop=0.2, duplicate=0.3, reorder=0.3, delay=0.2)
                case 5:
                    self._store.behave(delay=0.9)
                case _:
                    self._gateways[self._chance.choice(list(self._gateways))].actor("cluster").kill()
            await trio.sleep(self._chance.uniform(0.1, 6))
            self._store.recover()
            self._record.fault_ended(trio.current_time())

    # -------------------------------------------------------------- the end

    def _disagreements(self) -> list[str]:
        """Return the cooldowns of one gateway that another one does not have."""
        known: dict[str, set[str]] = {}
        for name, cortex in self._gateways.items():
            snapshot = cortex.snapshot()
            known[name] = {
                key.worker
                for key in snapshot.keys
                for cooldown in key.cooldowns
                # A cooldown of another gateway ends later by a jitter; one that is about to end may have ended there.
                if (cooldown.until - snapshot.at).total_seconds() > 6.0
            }
        everything = set[str]().union(*known.values())
        soon = {
            name: {key.worker for key in cortex.snapshot().keys if key.cooldowns}
            for name, cortex in self._gateways.items()
        }
        return [
            f"{name} does not know that {worker} cools down"
            for name in known
            for worker in sorted(everything - soon[name])
        ]
