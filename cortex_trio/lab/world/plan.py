"""What is going to happen in one world, drawn from a seed before anything runs: who is there and what breaks.

Who asks is drawn in load. A plan is data: the same seed and hours draw the same one, whatever the machine and the
hash seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ...simulator.servers import SERVERS
from .load import HOUR, PlannedCall, planned_calls
from .troubles import LINK_TROUBLES, MODEL_LISTS, MOMENTS, TROUBLES

TROUBLES_PER_HOUR = (1.0, 5.0)
KILLS_PER_HOUR = (0.0, 2.0)
STORMS = 0.1
"""Share of worlds in which one actor is killed again and again, so that the tree may rightly give up."""
WITHOUT_LIST = 0.3
"""Share of providers that list no models, or too late."""
ROCK_ATTEMPTS = 32
"""With a worker that always serves there must be enough attempts to reach it."""
DIALECTS = tuple(name for name in SERVERS if name != "openai_compatible")


@attrs.frozen
class PlannedProvider:
    """One upstream. `quota` is requests a minute for each key; `faults` the share of requests that go wrong anyway.

    `model_list` is a key of MODEL_LISTS, or "ok".
    """

    name: str
    dialect: str
    keys: tuple[str, ...]
    seed: int
    faults: float
    quota: float | None
    latency: float
    settings: Mapping[str, Any]
    model_list: str = "ok"


@attrs.frozen
class Trouble:
    """From `at` to `until` something is wrong with `who`; `what` is a key of TROUBLES, LINK_TROUBLES or MOMENTS."""

    at: float
    until: float
    who: str
    what: str


@attrs.frozen
class Intervention:
    """At `at`, `what` is done to `who`: "kill", "reload", "replace" (remove and add again) or "check"."""

    at: float
    what: str
    who: str
    rounds: int


@attrs.frozen
class Plan:
    """One world. `rock` is a provider nothing ever happens to, if there is one."""

    seed: int
    seconds: float
    providers: tuple[PlannedProvider, ...]
    rock: str | None
    config: Mapping[str, Any]
    troubles: tuple[Trouble, ...]
    calls: tuple[PlannedCall, ...]
    interventions: tuple[Intervention, ...]


def plan_of(seed: int, hours: float) -> Plan:
    """Draw the world of `seed`."""
    draw = random.Random(seed)
    seconds = hours * HOUR
    providers = tuple(_provider(draw, number) for number in range(draw.randint(1, 6)))
    rock = draw.choice(providers).name if len(providers) > 1 and draw.random() < 0.5 else None
    if rock is not None:
        providers = tuple(_solid(provider) if provider.name == rock else provider for provider in providers)
    shaky = [provider.name for provider in providers if provider.name != rock]
    troubles = tuple(sorted(_troubles(draw, seconds, shaky), key=lambda trouble: trouble.at))
    spans = [(trouble.at, trouble.until) for trouble in troubles]
    calls = tuple(planned_calls(draw, seconds, [provider.name for provider in providers], spans))
    return Plan(
        seed=seed,
        seconds=seconds,
        providers=providers,
        rock=rock,
        config=_config(draw, rock),
        troubles=troubles,
        calls=calls,
        interventions=tuple(_interventions(draw, seconds, providers, shaky, calls)),
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
        faults=draw.choice((0.0, 0.02, 0.02, 0.1, 0.3)),
        quota=draw.choice((None, None, 3.0, 10.0)),
        latency=draw.choice((0.0, 0.0, 0.02, 0.2)),
        settings=settings,
        model_list=draw.choice(tuple(MODEL_LISTS)) if draw.random() < WITHOUT_LIST else "ok",
    )


def _solid(provider: PlannedProvider) -> PlannedProvider:
    settings = {name: value for name, value in provider.settings.items() if name != "max_concurrency"}
    return attrs.evolve(provider, faults=0.0, quota=None, latency=0.0, settings=settings)


def _config(draw: random.Random, rock: str | None) -> dict[str, Any]:
    return {
        "strategy": draw.choice(
            ("priority", "round_robin", "least_used", "random", "fastest", "local_first")
        ),
        "key_strategy": draw.choice(("round_robin", "least_used", "random")),
        "health_check_interval": draw.choice((0, 0, 900.0, 1800.0)),
        "idle_timeout": draw.choice((5.0, 30.0)),
        "max_attempts": draw.randint(2, 8) if rock is None else ROCK_ATTEMPTS,
        "rate_limit_rest": draw.choice((None, None, 900.0)),
    }


# ------------------------------------------------------------------ what breaks


def _troubles(draw: random.Random, seconds: float, names: list[str]) -> Iterator[Trouble]:
    if not names:
        return
    kinds = (*TROUBLES, *LINK_TROUBLES, *MOMENTS)
    for _ in range(math.ceil(seconds / HOUR * draw.uniform(*TROUBLES_PER_HOUR))):
        at, what = draw.uniform(0, seconds), draw.choice(kinds)
        lasts = 0.0 if what in MOMENTS else draw.choice((5.0, 60.0, 600.0)) * draw.uniform(0.5, 3)
        yield Trouble(at, min(at + lasts, seconds), draw.choice(names), what)


def _interventions(
    draw: random.Random,
    seconds: float,
    providers: tuple[PlannedProvider, ...],
    shaky: list[str],
    calls: tuple[PlannedCall, ...],
) -> list[Intervention]:
    """Every actor may be killed; what is reconfigured or replaced is not the one nothing happens to.

    Most of it is done while a call is open, and some rounds of Trio's loop later: in between two steps of a request.
    """
    hours = seconds / HOUR

    def some(what: str, per_hour: float, whom: tuple[str, ...]) -> Iterator[Intervention]:
        for _ in range(
            int(hours * per_hour + draw.random())
        ):  # what is rare is rare in short lives, not absent
            at = draw.choice(calls).at if calls and draw.random() < 0.7 else draw.uniform(0, seconds)
            yield Intervention(at, what, draw.choice(whom), draw.randint(0, 60))

    actors = ("registry", "keys", "workers", "health", *(provider.name for provider in providers))
    planned = [
        *some("kill", draw.uniform(*KILLS_PER_HOUR), actors),
        *some("reload", 0.1, tuple(shaky)),
        *some("replace", 0.1, tuple(shaky)),
        *some("check", 0.2, ("",)),
    ]
    if draw.random() < STORMS:
        at, who = draw.uniform(0, seconds), draw.choice(actors)
        planned += [Intervention(at + 0.3 * place, "kill", who, 0) for place in range(draw.randint(4, 10))]
    return sorted(planned, key=lambda intervention: intervention.at)
