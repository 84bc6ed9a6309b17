"""A world of one minute in which everything overlaps, drawn from a seed before the run.

`plan` draws hours: long times between events, cooldowns that end, quotas. A dense plan is about interleavings: few
calls, most of whose requests fail, many of them at the same moment; health checks every few seconds; workers that are
added, removed and killed between any two steps of a request; calls that are cancelled after some rounds of Trio's loop.
Its links have no latency, so that exact times can be checked: when each request arrived, and how many there were.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any

from ...simulator.servers import SERVERS
from .faults import ALL_RESPONSE_FAULTS
from .load import PlannedCall, draw_dimensions, draw_kind
from .plan import ACTORS, DIALECTS, KEY_STRATEGIES, STRATEGIES, Intervention, Plan, PlannedProvider

SECONDS = 60.0
SETTLE_SECONDS = 40.0
"""Longer than a health check; the run goes on until the last call has ended in any case."""
SAMPLE_SECONDS = 7.3
"""Not a multiple of a time in the plan, so that no sample is taken in the middle of what happens at that time."""
MOST_KILLS = 3
"""More within five seconds, and the tree would have to give up."""
HINTED = ("rate limited, any hint", "overloaded, any hint", "server error, any hint", "no credit, any hint")
FAULTS = (*ALL_RESPONSE_FAULTS, *HINTED * 3)
"""What requests meet: everything, and Retry-After most often."""
ANSWERS: tuple[Mapping[str, Any], ...] = (
    {},
    {"tokens_per_second": 4.0},
    {"first_token_after": 3.0},
    {"reasoning": "Let me think about that."},
    {"no_terminal": True},
    {"close_idle": True},
    {"close_on_reuse": True},
    {"slice_bytes": 7},
    {"one_block": True},
)


def draw_dense_plan(seed: int) -> Plan:
    """Draw the dense plan of `seed`."""
    draw = random.Random(seed)
    many = draw.randint(2, 5)
    present = draw.randint(1, many)
    providers = tuple(_provider(draw, number, is_present=number < present) for number in range(many))
    names = [provider.name for provider in providers]
    calls = tuple(_call(draw, number, names[:present]) for number in range(1, draw.randint(2, 7) + 1))
    interventions = sorted(_interventions(draw, providers, calls), key=lambda planned: planned.at)
    return Plan(
        seed=seed,
        seconds=SECONDS,
        providers=providers,
        reliable=None,
        config={
            "strategy": draw.choice(STRATEGIES),
            "key_strategy": draw.choice(KEY_STRATEGIES),
            "health_check_interval": draw.choice((0, 0, 5.0, 30.0)),
            "max_attempts": draw.randint(1, 6),
            "idle_timeout": draw.choice((3.0, 30.0)),
            "rate_limit_rest": draw.choice((None, None, 15.0)),
        },
        faults=(),
        calls=tuple(sorted(calls, key=lambda call: call.at)),
        interventions=tuple(interventions),
        settle_seconds=SETTLE_SECONDS,
        sample_seconds=SAMPLE_SECONDS,
    )


def _provider(draw: random.Random, number: int, *, is_present: bool) -> PlannedProvider:
    dialect = draw.choice(DIALECTS)
    keys = tuple(f"sk-sim-dense-{number}-slot-{slot}" for slot in range(draw.randint(1, 3)))
    settings: dict[str, Any] = {"priority": draw.randint(0, 3), "timeout": draw.choice((5.0, 30.0))}
    if draw.random() < 0.3:
        settings["max_concurrency"] = draw.randint(1, 3)
    if draw.random() < 0.3:
        settings["context_window"] = draw.choice((8_000, 32_000))
    return PlannedProvider(
        name=f"{dialect}-{number}",
        dialect=dialect,
        keys=keys if SERVERS[dialect].needs_key else (),
        seed=draw.getrandbits(64),
        fault_rate=draw.choice((0.1, 0.5, 0.9)),
        quota=None,
        latency=0.0,
        settings=settings,
        model_list=draw.choice(("ok", "ok", "silent", "503")),
        faults=FAULTS,
        answers=ANSWERS,
        is_present=is_present,
    )


def _call(draw: random.Random, number: int, workers: list[str]) -> PlannedCall:
    kind, texts = draw_kind(draw)
    return PlannedCall(
        number=number,
        at=draw.choice((0.0, draw.uniform(0, SECONDS))),
        mode=draw.choice(("complete", "raise", "restart", "continue", "buffer")),
        options=_options(draw, kind, texts, workers),
        deadline=draw.choice((None, draw.uniform(0, 5), draw.uniform(0, 60))),
        leaves_after=draw.randint(0, 6) if draw.random() < 0.15 else None,
        pause=draw.choice((0.0, 0.0, 0.3)),
        rounds=0,
        kind=kind,
        texts=texts,
        cancel_after_rounds=draw.randint(0, 60) if draw.random() < 0.15 else None,
    )


def _options(draw: random.Random, kind: str, texts: int, workers: list[str]) -> dict[str, Any]:
    if kind == "models":
        return {"worker": draw.choice(workers)}
    if kind == "embed":
        return draw_dimensions(draw, texts)
    options: dict[str, Any] = {}
    if draw.random() < 0.4:
        options["hedge_after"] = draw.choice((0.5, 2.0))
    if draw.random() < 0.4:
        options["first_token_timeout"] = draw.choice((1.0, 10.0))
    if draw.random() < 0.2:
        options["max_attempts"] = draw.randint(1, 5)
    return options


def _interventions(
    draw: random.Random, providers: tuple[PlannedProvider, ...], calls: tuple[PlannedCall, ...]
) -> Iterator[Intervention]:
    """Draw them. Most happen at the moment at which a call begins, and some rounds of the loop later."""
    names = [provider.name for provider in providers]
    planned = [("add", provider.name, 0.0) for provider in providers if not provider.is_present]
    planned += [("kill", draw.choice((*ACTORS, *names)), 0.0) for _ in range(draw.randint(0, MOST_KILLS))]
    planned += [("limit", draw.choice(names), draw.choice((3.0, 20.0))) for _ in range(draw.randint(0, 2))]
    planned += [
        intervention
        for intervention in (
            ("remove", draw.choice(names), draw.choice((0.0, 2.0, 30.0))),
            ("reload", draw.choice(names), draw.choice((1.0, 9.0))),
            ("check", "", 0.0),
            ("inspect", "", 0.0),
        )
        if draw.random() < 0.4
    ]
    for action, target, seconds in planned:
        at = draw.choice((draw.uniform(0, SECONDS), *(call.at for call in calls)))
        yield Intervention(at, action, target, draw.randint(0, 60), seconds)
