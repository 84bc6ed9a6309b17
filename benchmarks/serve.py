"""The endpoint beside other proxies: `python -m benchmarks.serve [--quick] [--rounds 5]`, about five minutes.

All of them have the same upstream, a process that sends prepared bytes, and take turns in one run; a figure is the
median of the ratios of the rounds, because absolute times of two rounds on a busy machine cannot be compared.

BENCH_LITELLM   the program `litellm` of an environment with `litellm[proxy]`
BENCH_PORTKEY   the file `build/start-server.js` of the npm package @portkey-ai/gateway
A server that is not given is left out, with a line on stderr, and its goals are not judged.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from .report import machine
from .rounds import mock_upstream
from .serve_load import Cost, added_latency, load, memory_of_a_stream
from .serve_servers import EVENTS, SERVERS, STREAMED, WHOLE, Peer, ours

Costs = Mapping[str, Sequence[Cost]]
"""The rounds of each server, by its key in SERVERS."""


@dataclass(frozen=True)
class Goal:
    """What a figure should be: at least `limit`, or at most."""

    figure: str
    description: str
    limit: float
    unit: str = " ×"
    at_least: bool = False


GOALS = (
    Goal("whole/litellm", "requests/s, not streamed, to LiteLLM's proxy", 12, at_least=True),
    Goal("whole/portkey", "… to Portkey's gateway", 4, at_least=True),
    Goal("streamed/litellm", f"requests/s, streamed, {EVENTS} events, to LiteLLM's proxy", 12, at_least=True),
    Goal("server/starlette", "CPU per streamed request of the server alone, to uvicorn + Starlette", 1.2),
    Goal("p50", "added latency at half of the highest rate, median", 1.5, " ms"),
    Goal("p99", "… 99th percentile", 6, " ms"),
    Goal("memory", "memory of an open stream", 40, " KiB"),
    Goal("two", "requests/s, not streamed, of two processes, to one", 1.8, at_least=True),
)


def goals_table(figures: Mapping[str, float]) -> str:
    """Return all goals; a figure that was not measured is said to be so."""
    lines = ["| goal | | measured | |", "|---|--:|--:|---|"]
    for goal in GOALS:
        limit = f"{'≥' if goal.at_least else '≤'} {goal.limit:g}{goal.unit}"
        value = figures.get(goal.figure)
        if value is None:
            lines.append(f"| {goal.description} | {limit} | – | not measured |")
            continue
        is_met = value >= goal.limit if goal.at_least else value <= goal.limit
        lines.append(
            f"| {goal.description} | {limit} | {value:.3g}{goal.unit} | {'met' if is_met else '**missed**'} |"
        )
    return "\n".join(lines)


def compare(peers: Mapping[str, Peer], settings: str, seconds: float, rounds: int) -> Costs:
    """Measure the servers in turn. One that refuses such requests is left out."""
    costs: dict[str, list[Cost]] = {}
    for name, peer in peers.items():
        try:
            load(peer, settings, seconds / 2)  # warm
            costs[name] = []
        except RuntimeError as error:
            print(f"{peer.name} was left out of {settings}: {error}", file=sys.stderr)
    for _ in range(rounds):
        for name, rounds_of_it in costs.items():
            rounds_of_it.append(load(peers[name], settings, seconds))
    return costs


def rate_ratio(costs: Costs, first: str, second: str) -> float:
    """Return the median of the ratios of the rounds."""
    return statistics.median(a.rate / b.rate for a, b in zip(costs[first], costs[second], strict=True))


def cpu_ratio(costs: Costs, first: str, second: str) -> float:
    """Return the median of the ratios of the rounds."""
    return statistics.median(a.cpu / b.cpu for a, b in zip(costs[first], costs[second], strict=True))


def table(title: str, peers: Mapping[str, Peer], costs: Costs) -> str:
    """Return the rounds as Markdown; ratios are those of the first server to each."""
    mine = next(iter(costs))
    lines = [f"| {title} | requests/s | ours, to it | CPU for each | ours, to it |", "|---|--:|--:|--:|--:|"]
    for name, found in costs.items():
        rate, cpu = (
            statistics.median(values) for values in zip(*((c.rate, c.cpu) for c in found), strict=True)
        )
        to_rate, to_cpu = rate_ratio(costs, mine, name), cpu_ratio(costs, mine, name)
        lines.append(
            f"| {peers[name].name} | {rate:,.0f} | {to_rate:.2f} × | {cpu * 1e6:,.0f} µs | {to_cpu:.2f} × |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, to check that it works")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    seconds, rounds = (0.3, 1) if options.quick else (2.0, options.rounds)
    figures: dict[str, float] = {}
    print(machine())
    with mock_upstream() as address, ExitStack() as stack:

        def folder() -> Path:
            return Path(stack.enter_context(tempfile.TemporaryDirectory()))

        peers: dict[str, Peer] = {}
        for name, server in SERVERS.items():
            try:
                peers[name] = stack.enter_context(server(address, folder()))
            except (KeyError, OSError, RuntimeError) as error:
                print(f"{name} was left out: {error}", file=sys.stderr)
        mine, upstream = peers["ours"], Peer("the upstream", int(address.rpartition(":")[2]), os.getpid())

        for kind, title, settings in (
            ("whole", "not streamed", WHOLE),
            ("streamed", f"streamed, {EVENTS} events", STREAMED),
        ):
            costs = compare(peers, settings, seconds, rounds)
            print("\n" + table(title, peers, costs), flush=True)
            figures |= {f"{kind}/{name}": rate_ratio(costs, "ours", name) for name in costs}
            if kind == "whole":
                rate = statistics.median(cost.rate for cost in costs["ours"])
            elif "starlette" in costs:
                figures["server/starlette"] = cpu_ratio(costs, "memory", "starlette")

        p50, p99 = added_latency(mine, upstream, WHOLE, rate / 2, seconds * rounds)
        figures |= {"p50": p50 * 1e3, "p99": p99 * 1e3}
        figures["memory"] = memory_of_a_stream(mine, 20 if options.quick else 400) / 1024
        pair = {"two": stack.enter_context(ours(address, folder(), workers=2)), "ours": mine}
        costs = compare(pair, WHOLE, seconds, rounds)
        print("\n" + table("two processes", pair, costs))
        figures["two"] = rate_ratio(costs, "two", "ours")
    print("\n" + goals_table(figures))


if __name__ == "__main__":
    main()
