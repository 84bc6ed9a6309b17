"""What may happen to a gateway in one short life, drawn from one seed. Pure: it plans and plays nothing.

Everything a real day brings, in a minute of virtual time: providers that fail in every way the simulator can
play, callers of every temper, and someone who kills actors, adds, removes and changes workers meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import attrs

from cortex_trio.failures import FailureKind
from cortex_trio.messages import ToolCall
from cortex_trio.simulator import Behaviour

STORY = "Once upon a time there was a gateway that never lost one single word of any story it was told."
TOOL_CALL = ToolCall("call_1", "book_flight", '{"to":"Oslo","seats":2}')
DIALECTS = ("openai", "groq", "xai", "anthropic", "gemini", "cohere", "ollama")
DAY_SECONDS = 60.0

_GOOD: tuple[Mapping[str, Any], ...] = (
    {},
    {"tokens_per_second": 4.0},
    {"first_token_after": 3.0},
    {"reasoning": "Let me think about that."},
    {"no_terminal": True},
    {"close_idle": True},
    {"close_on_reuse": True},
    {"slice_bytes": 7},
    {"one_block": True},
    {"text": "", "tool_calls": (TOOL_CALL,)},
)
_BAD: tuple[Mapping[str, Any], ...] = (
    {"silent": True},
    {"refuse": True},
    {"first_token_after": 90.0},
    {"stall_after": 0},
    {"stall_after": 5, "pings": 2.0},
    {"stall_after": 5, "stall_for": 4.0},
    {"cut_after": 0},
    {"cut_after": 6},
    {"cut_after": 99},
    {"cut_after": 2, "text": "", "tool_calls": (TOOL_CALL,)},
    {"cut_mid_chunk": 3},
    {"reset_after": 0},
    {"reset_after": 4},
    {"garble_after": 0},
    {"garble_after": 3},
    {"error": FailureKind.OVERLOADED, "error_after": 0},
    {"error": FailureKind.OVERLOADED, "error_after": 4},
    {"error": FailureKind.SERVER, "error_after": 2},
    {"html": True},
    {"text": ""},
    {"body": b'{"almost": "JSON'},
    {"headers": {"content-encoding": "gzip"}},
)
_HINTED = (FailureKind.RATE_LIMIT, FailureKind.QUOTA, FailureKind.OVERLOADED, FailureKind.SERVER)
_ANSWERED = (  # every error a provider answers with; those that end a call or a worker's day are rare
    *_HINTED * 3,
    FailureKind.EDGE,
    FailureKind.UNKNOWN,
    FailureKind.PERMISSION,
    FailureKind.CREDENTIAL,
    FailureKind.MODEL_NOT_FOUND,
    FailureKind.REGION,
    FailureKind.CONTEXT_LENGTH,
    FailureKind.CONTENT_POLICY,
    FailureKind.BAD_REQUEST,
)


@attrs.frozen
class Upstream:
    """One provider and how its worker is configured. `seed` decides what each request to it gets."""

    name: str
    dialect: str
    keys: tuple[str, ...]
    seed: int
    faults: float  # share of requests that go wrong
    settings: Mapping[str, Any]
    health: Behaviour


@attrs.frozen
class Caller:
    """One call. `complete` stands beside the four ways of on_interrupt; `leaves_after` counts events."""

    number: int
    at: float
    how: str
    options: Mapping[str, Any]
    deadline: float | None
    leaves_after: int | None
    pause: float  # between two events, for a reader that takes its time
    patience: int | None  # it is cancelled after so many rounds of Trio's loop, in the thick of things

    @property
    def prompt(self) -> str:
        return f"Tell me story {self.number}."


@attrs.frozen
class Step:
    """Somebody does `what` to `who` at a moment."""

    at: float
    what: str  # "kill" | "add" | "remove" | "reload" | "limit" | "check" | "look"
    who: str
    seconds: float
    rounds: int  # of Trio's loop after `at`: in virtual time all that happens at once happens in between


@attrs.frozen
class Schedule:
    seed: int
    upstreams: tuple[Upstream, ...]  # the first `present` are there from the start
    present: int
    config: Mapping[str, Any]
    callers: tuple[Caller, ...]
    steps: tuple[Step, ...]


def schedule_of(seed: int) -> Schedule:
    """Draw a schedule; the same seed draws the same one."""
    draw = random.Random(seed)
    upstreams = tuple(_upstream(draw, number) for number in range(draw.randint(2, 5)))
    present = draw.randint(1, len(upstreams))
    callers = tuple(_caller(draw, number) for number in range(draw.randint(2, 7)))
    return Schedule(
        seed=seed,
        upstreams=upstreams,
        present=present,
        config={
            "strategy": draw.choice(
                ("priority", "round_robin", "least_used", "random", "fastest", "local_first")
            ),
            "key_strategy": draw.choice(("round_robin", "least_used", "random")),
            "health_check_interval": draw.choice((0, 0, 5.0, 30.0)),
            "max_attempts": draw.randint(1, 6),
            "idle_timeout": draw.choice((3.0, 30.0)),
            "rate_limit_rest": draw.choice((None, None, 15.0)),
        },
        callers=callers,
        steps=tuple(sorted(_steps(draw, upstreams, present, callers), key=lambda step: step.at)),
    )


def behaviour_of(draw: random.Random, faults: float) -> Behaviour:
    """Draw what one request gets."""
    if draw.random() >= faults:
        return Behaviour(**{"text": STORY, **draw.choice(_GOOD)})
    if draw.random() < 0.5:
        return Behaviour(**{"text": STORY, **draw.choice(_BAD)})
    kind = draw.choice(_ANSWERED)
    hinted = kind in _HINTED and draw.random() < 0.7
    return Behaviour(error=kind, retry_after=draw.choice((0.5, 2, 7, 25, 50)) if hinted else None)


def _upstream(draw: random.Random, number: int) -> Upstream:
    dialect = draw.choice(DIALECTS)
    name = f"{dialect}-{number}"
    keys = tuple(f"sk-proof-of-worker-{number}-slot-{slot}" for slot in range(draw.randint(1, 3)))
    settings: dict[str, Any] = {"priority": draw.randint(0, 3), "timeout": draw.choice((5.0, 30.0))}
    if draw.random() < 0.3:
        settings["max_concurrency"] = draw.randint(1, 3)
    if draw.random() < 0.3:
        settings["context_window"] = draw.choice((8_000, 32_000))
    health = draw.choice((Behaviour(), Behaviour(), Behaviour(silent=True), Behaviour(status=503)))
    return Upstream(
        name,
        dialect,
        () if dialect == "ollama" else keys,
        seed=draw.getrandbits(32),
        faults=draw.choice((0.1, 0.5, 0.9)),
        settings=settings,
        health=health,
    )


def _caller(draw: random.Random, number: int) -> Caller:
    options: dict[str, Any] = {}
    if draw.random() < 0.4:
        options["hedge_after"] = draw.choice((0.5, 2.0))
    if draw.random() < 0.4:
        options["first_token_timeout"] = draw.choice((1.0, 10.0))
    if draw.random() < 0.2:
        options["max_attempts"] = draw.randint(1, 5)
    return Caller(
        number=number,
        at=draw.choice((0.0, draw.uniform(0, DAY_SECONDS))),
        how=draw.choice(("complete", "raise", "restart", "continue", "buffer")),
        options=options,
        deadline=draw.choice((None, draw.uniform(0, 5), draw.uniform(0, 60))),
        leaves_after=draw.randint(0, 6) if draw.random() < 0.15 else None,
        pause=draw.choice((0.0, 0.0, 0.3)),
        patience=draw.randint(0, 60) if draw.random() < 0.15 else None,
    )


def _steps(
    draw: random.Random, upstreams: tuple[Upstream, ...], present: int, callers: tuple[Caller, ...]
) -> list[Step]:
    """At most three kills: more in five seconds, and the tree rightly gives up."""
    names = [upstream.name for upstream in upstreams]
    actors = ["registry", "keys", "workers", "health", *names]
    planned: list[tuple[str, str, float]] = [("add", name, 0.0) for name in names[present:]]
    planned += [("kill", draw.choice(actors), 0.0) for _ in range(draw.randint(0, 3))]
    planned += [("limit", draw.choice(names), draw.choice((3, 20))) for _ in range(draw.randint(0, 2))]
    planned += [
        step
        for step in (
            ("remove", draw.choice(names), draw.choice((0.0, 2.0, 30.0))),
            ("reload", draw.choice(names), draw.choice((1.0, 9.0))),
            ("check", "", 0.0),
            ("look", "", 0.0),
        )
        if draw.random() < 0.4
    ]
    moments = [caller.at for caller in callers]
    return [
        Step(draw.choice((draw.uniform(0, DAY_SECONDS), *moments)), *step, rounds=draw.randint(0, 60))
        for step in planned
    ]
