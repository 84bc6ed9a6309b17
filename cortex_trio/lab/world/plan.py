"""What will happen in one world, drawn from a seed before the run: its providers, their faults, the interventions.

The calls are drawn in `load`. A plan is data: the same seed and hours give the same plan on every machine and with
every hash seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ...simulator.servers import SERVERS
from .faults import LINK_EVENTS, LINK_FAULTS, MODEL_LISTS, RESPONSE_FAULTS
from .load import HOUR, PlannedCall, draw_calls

FAULTS_PER_HOUR = (1.0, 5.0)
KILLS_PER_HOUR = (0.0, 2.0)
KILL_SERIES_SHARE = 0.1
"""Share of worlds in which one actor is killed again and again, so that the tree may have to give up."""
WITHOUT_LIST_SHARE = 0.3
"""Share of providers that have no list of models, or send it too late."""
ATTEMPTS_WITH_RELIABLE = 32
"""max_attempts where one worker never fails: enough to try every other worker before it."""
DIALECTS = tuple(name for name in SERVERS if name != "openai_compatible")
STRATEGIES = ("priority", "round_robin", "least_used", "random", "fastest", "local_first")
KEY_STRATEGIES = ("round_robin", "least_used", "random")
ACTORS = ("registry", "keys", "workers", "health")
"""The actors that every gateway has, beside one for each worker."""


@attrs.frozen
class PlannedProvider:
    """One provider and the configuration of its worker."""

    name: str
    dialect: str
    keys: tuple[str, ...]
    seed: int
    """Decides what each of its requests gets."""
    fault_rate: float
    """Share of requests that meet a fault although none is planned at that time."""
    quota: float | None
    """Requests a minute for each API key; None: no limit."""
    latency: float
    """Seconds a message takes to the provider or from it."""
    settings: Mapping[str, Any]
    """Fields of WorkerConfig."""
    model_list: str = "ok"
    """A key of ALL_MODEL_LISTS, or "ok"."""
    faults: tuple[str, ...] = tuple(RESPONSE_FAULTS)
    """What `fault_rate` draws from."""
    answers: tuple[Mapping[str, Any], ...] = ({"tokens_per_second": math.inf}, {"tokens_per_second": 20.0})
    """Fields of Behaviour for the variants of a good answer."""
    is_present: bool = True
    """Whether its worker is configured from the beginning; otherwise an intervention adds it."""


@attrs.frozen
class PlannedFault:
    """From `at` to `until` (Trio time) the provider `target` has a fault.

    `fault` is a key of RESPONSE_FAULTS, LINK_FAULTS or LINK_EVENTS.
    """

    at: float
    until: float
    target: str
    fault: str


@attrs.frozen
class Intervention:
    """Something an operator or a crash does to the gateway at `at` (Trio time).

    `action` is a key of `interventions.ACTIONS`, `target` the name of a worker or an actor. In virtual time many
    steps of a request happen at the same moment: `rounds` of Trio's loop decide between which of them this happens.
    `seconds` belongs to the action: a drain, a time-out, the length of a limit.
    """

    at: float
    action: str
    target: str
    rounds: int
    seconds: float = 0.0


@attrs.frozen
class Plan:
    """One world. `reliable` is the provider that never has a fault, None if there is no such provider."""

    seed: int
    seconds: float
    """When the last planned event happens, at the latest."""
    providers: tuple[PlannedProvider, ...]
    reliable: str | None
    config: Mapping[str, Any]
    """Fields of Config, without the workers."""
    faults: tuple[PlannedFault, ...]
    calls: tuple[PlannedCall, ...]
    interventions: tuple[Intervention, ...]
    settle_seconds: float = 700.0
    """How long the state is checked after the last planned event: by default longer than any call lasts."""
    sample_seconds: float = 120.0
    """How often the state of the gateway is checked."""

    @property
    def has_ideal_links(self) -> bool:
        """Whether all messages arrive at once, so that more can be said about the times of requests."""
        return not any(planned.latency for planned in self.providers) and not any(
            planned.fault in LINK_FAULTS or planned.fault in LINK_EVENTS for planned in self.faults
        )


def draw_plan(seed: int, hours: float) -> Plan:
    """Draw the world of `seed`."""
    draw = random.Random(seed)
    seconds = hours * HOUR
    providers = tuple(_provider(draw, number) for number in range(draw.randint(1, 6)))
    reliable = draw.choice(providers).name if len(providers) > 1 and draw.random() < 0.5 else None
    if reliable is not None:
        providers = tuple(
            _made_reliable(provider) if provider.name == reliable else provider for provider in providers
        )
    unreliable = [provider.name for provider in providers if provider.name != reliable]
    faults = tuple(sorted(_faults(draw, seconds, unreliable), key=lambda fault: fault.at))
    spans = [(fault.at, fault.until) for fault in faults]
    calls = tuple(draw_calls(draw, seconds, [provider.name for provider in providers], spans))
    return Plan(
        seed=seed,
        seconds=seconds,
        providers=providers,
        reliable=reliable,
        config=_config(draw, reliable),
        faults=faults,
        calls=calls,
        interventions=tuple(_interventions(draw, seconds, providers, unreliable, calls)),
    )


def _provider(draw: random.Random, number: int) -> PlannedProvider:
    dialect = draw.choice(DIALECTS)
    keys = tuple(
        f"sk-sim-world-{number}-slot-{slot}-{draw.getrandbits(32):08x}" for slot in range(draw.randint(1, 3))
    )
    settings: dict[str, Any] = {"priority": draw.randint(0, 3)}
    if draw.random() < 0.3:
        settings["max_concurrency"] = draw.randint(1, 4)
    return PlannedProvider(
        name=f"{dialect}-{number}",
        dialect=dialect,
        keys=keys if SERVERS[dialect].needs_key else (),
        seed=draw.getrandbits(64),
        fault_rate=draw.choice((0.0, 0.02, 0.02, 0.1, 0.3)),
        quota=draw.choice((None, None, 3.0, 10.0)),
        latency=draw.choice((0.0, 0.0, 0.02, 0.2)),
        settings=settings,
        model_list=draw.choice(tuple(MODEL_LISTS)) if draw.random() < WITHOUT_LIST_SHARE else "ok",
    )


def _made_reliable(provider: PlannedProvider) -> PlannedProvider:
    settings = {name: value for name, value in provider.settings.items() if name != "max_concurrency"}
    return attrs.evolve(provider, fault_rate=0.0, quota=None, latency=0.0, settings=settings)


def _config(draw: random.Random, reliable: str | None) -> dict[str, Any]:
    return {
        "strategy": draw.choice(STRATEGIES),
        "key_strategy": draw.choice(KEY_STRATEGIES),
        "health_check_interval": draw.choice((0, 0, 900.0, 1800.0)),
        "idle_timeout": draw.choice((5.0, 30.0)),
        "max_attempts": draw.randint(2, 8) if reliable is None else ATTEMPTS_WITH_RELIABLE,
        "rate_limit_rest": draw.choice((None, None, 900.0)),
    }


# ------------------------------------------------------------------ faults and interventions


def _faults(draw: random.Random, seconds: float, names: list[str]) -> Iterator[PlannedFault]:
    if not names:
        return
    known = (*RESPONSE_FAULTS, *LINK_FAULTS, *LINK_EVENTS)
    for _ in range(math.ceil(seconds / HOUR * draw.uniform(*FAULTS_PER_HOUR))):
        at, fault = draw.uniform(0, seconds), draw.choice(known)
        lasts = 0.0 if fault in LINK_EVENTS else draw.choice((5.0, 60.0, 600.0)) * draw.uniform(0.5, 3)
        yield PlannedFault(at, min(at + lasts, seconds), draw.choice(names), fault)


def _interventions(
    draw: random.Random,
    seconds: float,
    providers: tuple[PlannedProvider, ...],
    unreliable: list[str],
    calls: tuple[PlannedCall, ...],
) -> list[Intervention]:
    """Draw them. Every actor may be killed; the reliable worker is neither reconfigured nor replaced.

    Most interventions happen during a call.
    """
    hours = seconds / HOUR

    def some(action: str, per_hour: float, targets: tuple[str, ...]) -> Iterator[Intervention]:
        # The random summand: a rare action is rare in short runs, too, and not absent.
        for _ in range(int(hours * per_hour + draw.random())):
            at = draw.choice(calls).at if calls and draw.random() < 0.7 else draw.uniform(0, seconds)
            yield Intervention(at, action, draw.choice(targets), draw.randint(0, 60))

    actors = (*ACTORS, *(provider.name for provider in providers))
    planned = [
        *some("kill", draw.uniform(*KILLS_PER_HOUR), actors),
        *some("reload", 0.1, tuple(unreliable)),
        *some("replace", 0.1, tuple(unreliable)),
        *some("check", 0.2, ("",)),
    ]
    if draw.random() < KILL_SERIES_SHARE:
        at, target = draw.uniform(0, seconds), draw.choice(actors)
        planned += [Intervention(at + 0.3 * place, "kill", target, 0) for place in range(draw.randint(4, 10))]
    return sorted(planned, key=lambda intervention: intervention.at)
