"""The goals for the figures. Missed goals are shown like the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    figure: str
    description: str
    limit: float
    unit: str = ""


GOALS = (
    Goal("streamed/1/floor", "CPU per streamed request, to the floor, 1 stream", 1.8),
    Goal("streamed/100/floor", "… 100 streams", 1.6),
    Goal("streamed/1000/floor", "… 1,000 streams", 1.6),
    Goal("streamed/1/bare_httpx", "… to httpx 0.28, bare, 1 stream", 1.0),
    Goal("streamed/10/bare_httpx", "… 10 streams", 1.0),
    Goal("streamed/100/bare_httpx", "… 100 streams", 1.0),
    Goal("streamed/1/openai_sdk", "… to the openai SDK, 1 stream", 1.0),
    Goal("streamed/10/openai_sdk", "… 10 streams", 1.0),
    Goal("streamed/100/openai_sdk", "… 100 streams", 1.0),
    Goal("streamed/1000/openai_sdk", "… 1,000 streams", 1.0),
    Goal("peers/10/litellm_router", "… to LiteLLM's Router with a fallback, 10 streams", 1 / 6),
    Goal("peers/100/litellm_router", "… 100 streams", 1 / 6),
    Goal("peers/10/tensorzero_embedded", "… to TensorZero embedded (Rust), 10 streams", 1.0),
    Goal("peers/100/tensorzero_embedded", "… 100 streams", 1.0),
    Goal("whole/openai_sdk", "CPU of a request not streamed, 10 at a time, to the openai SDK", 1 / 4),
    Goal("whole/litellm_router", "… to LiteLLM's Router", 1 / 15),
    Goal("beside/idle", "CPU of a request beside 3,000 idle connections, to beside none", 1.15),
    Goal("beside/open", "… beside 3,000 open streams", 1.15),
    Goal("events", "CPU per event at 10,000 events, to at 20", 1.05),
    Goal("first_token/100", "time to first token at 100 streams, to our bare connections", 1.3),
    Goal("memory", "memory per open stream at 1,000, to our bare connections", 1.5),
    Goal("growth/workers", "CPU of a selection among 1,000 workers, to 10, the worst strategy", 2.0),
    Goal("cancel/ours", "caller leaves → provider sees the close, p99 beside 100 streams", 5.0, " ms"),
    Goal("observers", "CPU of a request with an observer that does nothing, to without one", 1.1),
    Goal("failover/ours", "CPU of a request whose first worker refuses, to two plain requests", 1.1),
)


def goals_table(runs: Sequence[Mapping[str, float]]) -> str:
    """Return the goals as Markdown, with the value of every run; figures that were not measured are left out."""
    lines = ["| figure | goal | measured | |", "|---|--:|--:|---|"]
    for goal in GOALS:
        values = [figures[goal.figure] for figures in runs if goal.figure in figures]
        if values:
            measured = " · ".join(f"{value:.3g}" for value in values)
            limit, result = f"≤ {goal.limit:.3g}{goal.unit}", _result(goal, values)
            lines.append(f"| {goal.description} | {limit} | {measured}{goal.unit} | {result} |")
    return "\n".join(lines)


def _result(goal: Goal, values: Sequence[float]) -> str:
    met = sum(value <= goal.limit for value in values)
    if met in (0, len(values)):
        return "met" if met else "**missed**"
    return f"met in {met} of {len(values)}"
