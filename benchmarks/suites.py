"""What is measured: one function for each suite, which returns a table and figures for the goals."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from .clients import client_name
from .growth import key_ring_costs, selection_costs
from .rounds import Job, Row, closed_streams, measure
from .workload import BesideKind, Dialect, Workload

BARE = ("floor", "transport", "ours", "bare_httpx", "openai_sdk")
PEERS = (
    "floor",
    "ours",
    "tensorzero_embedded",
    "pydantic_ai_fallback",
    "litellm_acompletion",
    "litellm_router",
)

GAPS = {1: 1, 10: 5, 100: 25, 1000: 125}
"""Streams at a time → milliseconds between two pieces, so that the floor is idle most of the time: a client that is
always late finds several pieces in one read, and looks cheaper than it is."""
REQUESTS = {1: 40, 10: 100, 100: 300, 1000: 1000}


@dataclass(frozen=True)
class Section:
    """One table of the report."""

    title: str
    note: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: dict[str, float]  # figures for goals, by name
    measured: Sequence[Row] = field(default=(), repr=False)


@dataclass(frozen=True)
class Bench:
    """Where the mock is, and how thoroughly to measure."""

    address: str
    quick: bool

    def run(self, clients: Sequence[str], workload: Workload, rounds: int) -> dict[str, Row]:
        """The rows by client; one that failed has none."""
        rows = self.turns([(client, workload) for client in clients], rounds)
        return {row.client: row for row in rows if row is not None}

    def turns(self, jobs: Sequence[Job], rounds: int) -> list[Row | None]:
        """A row for each job; None for one that failed."""
        return measure(self.address, jobs, 1 if self.quick else rounds)

    def requests(self, wanted: int) -> int:
        return min(wanted, 20) if self.quick else wanted


def _streamed(bench: Bench, concurrency: int, chunks: int = 20) -> Workload:
    gap = GAPS[concurrency]
    return Workload(
        f"chunks-{chunks}.gap-{gap}",
        bench.requests(REQUESTS[concurrency]),
        concurrency,
        stagger=chunks * gap / 1000 / concurrency,
    )


_CPU_HEAD = ("client", "CPU per request", "to the floor", "to the first token")


def _cpu_row(row: Row) -> Sequence[str]:
    return (
        client_name(row.client),
        f"{row.cpu.median * 1e6:,.0f} µs",
        f"**{row.ratio.median:.2f}** ({row.ratio.low:.2f}–{row.ratio.high:.2f})",
        f"{row.first_token.median * 1e3:.2f} ms" if row.first_token.median else "",
    )


def streamed(concurrency: int) -> Callable[[Bench], Section]:
    """One streamed request of 20 pieces, compared with clients without a gateway."""

    def suite(bench: Bench) -> Section:
        clients = [c for c in BARE if concurrency < 1000 or c != "bare_httpx"]  # it does not finish there
        rows = bench.run(clients, _streamed(bench, concurrency), 3 if concurrency == 1000 else 5)
        ours, bare = rows["ours"], rows["transport"]
        figures = {f"streamed/{concurrency}/{name}": _relation(ours, row) for name, row in rows.items()}
        waits = zip(ours.rounds, bare.rounds, strict=False)
        figures[f"first_token/{concurrency}"] = statistics.median(
            a.first_token / b.first_token for a, b in waits
        )
        title = f"One streamed request of 20 pieces, {concurrency:,} at a time"
        return Section(title, "", _CPU_HEAD, [*map(_cpu_row, rows.values())], figures, [*rows.values()])

    return suite


def _relation(ours: Row, other: Row) -> float:
    """Our CPU to theirs: the median of the rounds, each compared with its own neighbour."""
    return statistics.median(a.cpu / b.cpu for a, b in zip(ours.rounds, other.rounds, strict=False))


def peers(concurrency: int) -> Callable[[Bench], Section]:
    """The same compared with other gateways."""

    def suite(bench: Bench) -> Section:
        workload = replace(_streamed(bench, concurrency), requests=bench.requests(max(100, 2 * concurrency)))
        rows = bench.run(PEERS, workload, 3)
        figures = {f"peers/{concurrency}/{name}": _relation(rows["ours"], row) for name, row in rows.items()}
        title = f"Beside other gateways: streamed, 20 pieces, {concurrency:,} at a time"
        return Section(title, "", _CPU_HEAD, [*map(_cpu_row, rows.values())], figures, [*rows.values()])

    return suite


def whole(bench: Bench) -> Section:
    """One answer that is not streamed, 10 at a time."""
    clients = (
        "floor",
        "transport",
        "ours",
        "bare_httpx",
        "openai_sdk",
        "tensorzero_embedded",
        "litellm_router",
    )
    workload = Workload("chunks-20.whole-1", bench.requests(300), 10, kind="whole")
    rows = bench.run(clients, workload, 7)
    figures = {f"whole/{name}": _relation(rows["ours"], row) for name, row in rows.items()}
    note = "The mock answers with one JSON object. `complete()` asks for a stream and takes what comes."
    return Section("Not streamed, 10 at a time", note, _CPU_HEAD, [*map(_cpu_row, rows.values())], figures)


def events(bench: Bench) -> Section:
    """CPU per event, for short and for long streams."""
    sizes = {20: 400} if bench.quick else {20: 400, 1_000: 20, 10_000: 10}
    jobs = [
        ("ours", Workload(f"chunks-{chunks}.gap-1", bench.requests(requests), 10, stagger=0.0021))
        for chunks, requests in sizes.items()
    ]
    costs = {
        chunks: row.cpu.median / chunks
        for chunks, row in zip(sizes, bench.turns(jobs, 2), strict=True)
        if row
    }
    figures = {"events": costs[max(sizes)] / costs[20]}
    rows = [(f"{chunks:,}", f"{cost * 1e6:.1f} µs") for chunks, cost in costs.items()]
    return Section("Many events, 10 streams", "", ("events", "CPU per event"), rows, figures)


def coalesced(bench: Bench) -> Section:
    """Ten pieces in each write, as a busy server sends them, and the other dialects."""
    cases: Sequence[tuple[Dialect, int]] = (
        ("chat", 10),
        ("messages", 1),
        ("messages", 10),
        ("ollama", 1),
        ("ollama", 10),
    )
    jobs: list[Job] = [
        (
            "ours",
            Workload(f"chunks-200.gap-5.join-{join}", bench.requests(20), 10, dialect=dialect, stagger=0.1),
        )
        for dialect, join in cases
    ]
    rows = [
        (dialect, str(join), f"{row.cpu.median / 200 * 1e6:.1f} µs")
        for (dialect, join), row in zip(cases, bench.turns(jobs, 3), strict=True)
        if row
    ]
    head = ("dialect", "pieces in a write", "CPU per piece")
    return Section("Dialects and coalescing, 200 pieces, 10 at a time", "", head, rows, {})


BESIDE = (0, 100, 300, 1000, 3000)
BESIDE_REQUESTS = {"ours": 600, "bare_httpx": 100}


def beside(kind: BesideKind) -> Callable[[Bench], Section]:
    """One short request beside connections that do nothing, and beside streams that are open."""

    def suite(bench: Bench) -> Section:
        few = [("bare_httpx", count) for count in BESIDE[:3]]
        cases = [*(("ours", count) for count in (BESIDE[:3] if bench.quick else BESIDE)), *few]
        jobs = [
            (
                client,
                Workload("chunks-1", bench.requests(BESIDE_REQUESTS[client]), beside=n, beside_kind=kind),
            )
            for client, n in cases
        ]
        rounds = 3 if kind == "idle" else 7  # to leave many idle takes seconds
        found = {case: row for case, row in zip(cases, bench.turns(jobs, rounds), strict=True) if row}
        rows = [
            (
                client_name(client),
                *(
                    f"{found[client, n].cpu.median * 1e3:.2f} ms" if (client, n) in found else "–"
                    for n in BESIDE
                ),
            )
            for client in BESIDE_REQUESTS
        ]
        most = max(n for client, n in found if client == "ours")
        figures = {f"beside/{kind}": _relation(found["ours", most], found["ours", 0])}
        title = f"One short request beside {'idle connections' if kind == 'idle' else 'open streams'}"
        return Section(title, "", ("client", *(f"beside {n:,}" for n in BESIDE)), rows, figures)

    return suite


def memory(bench: Bench) -> Section:
    """Memory of an open stream."""
    count = 100 if bench.quick else 1000
    grown = {}
    for client in ("transport", "ours"):
        workload = Workload("chunks-1", 5, beside=count, beside_kind="open")
        rows = [bench.run((client,), workload, 1).get(client) for _ in range(1 if bench.quick else 3)]
        grown[client] = statistics.median(row.rounds[0].resident / count for row in rows if row)
    rows_told = [(client_name(client), f"{size / 1024:.1f} KiB") for client, size in grown.items()]
    figures = {"memory": grown["ours"] / max(grown["transport"], 1.0)}
    title = f"Resident memory per open stream, {count:,} streams"
    return Section(title, "", ("client", "memory per stream"), rows_told, figures)


def cancel(bench: Bench) -> Section:
    """From the moment the caller leaves to the moment the provider sees the close, beside 100 busy streams."""
    rows, figures = [], {}
    for client in ("ours", "bare_httpx"):
        closed_streams(bench.address)
        workload = Workload(
            "chunks-1000.gap-20", bench.requests(200), cancel=True, beside=100, beside_kind="busy"
        )
        row = bench.run((client,), workload, 1).get(client)
        if row is None:
            continue
        seen, left = closed_streams(bench.address), row.rounds[0].left
        waits = sorted(seen[tag] - left[tag] for tag in left if tag in seen)
        if not waits:
            continue
        p99 = waits[int(len(waits) * 0.99)]
        rows.append(
            (
                client_name(client),
                f"{len(waits)} of {len(left)}",
                f"{statistics.median(waits) * 1e3:.2f} ms",
                f"{p99 * 1e3:.2f} ms",
            )
        )
        figures[f"cancel/{client}"] = p99 * 1e3
    head = ("client", "seen closed", "median", "p99")
    return Section("From leaving a stream to its close at the provider", "", head, rows, figures)


FAILOVER_REQUESTS = {"ours": 400, "pydantic_ai_fallback": 100, "litellm_router": 60}


def failover(bench: Bench) -> Section:
    """A request whose first worker refuses, to two requests that are served."""
    rows, figures = [], {}
    for client, requests in FAILOVER_REQUESTS.items():
        plain = Workload("chunks-1", bench.requests(requests), 10)
        one, two = bench.turns([(client, plain), (client, replace(plain, refusing=True))], 5)
        if one is None or two is None:
            continue
        ratio = two.ratio.median / 2
        times = (f"{row.cpu.median * 1e3:.2f} ms" for row in (one, two))
        rows.append((client_name(client), *times, f"{ratio:.2f}"))
        figures[f"failover/{client}"] = ratio
    head = ("client", "served at once", "after one refusal", "to two served at once")
    return Section("Failover", "", head, rows, figures)


def observers(bench: Bench) -> Section:
    """What the events cost: a gateway with an observer that does nothing, to the same one without."""
    rows = bench.run(("ours", "ours_observed"), _streamed(bench, 10), 7)
    figures = {"observers": _relation(rows["ours_observed"], rows["ours"])}
    note = "Without an observer no event is made: each of them costs one comparison."
    return Section("Observers, 10 streams", note, _CPU_HEAD, [*map(_cpu_row, rows.values())], figures)


def growth(bench: Bench) -> Section:
    """CPU of a selection and a lease with many workers and many API keys: pure decisions, no I/O."""
    selection, ring = selection_costs(bench.quick), key_ring_costs(bench.quick)
    rows = [
        (f"{strategy}: one selection among {n:,} workers", f"{seconds * 1e6:,.1f} µs")
        for strategy, costs in selection.items()
        for n, seconds in costs.items()
    ]
    rows += [
        (f"{n:,} keys: one loan and its return", f"{seconds * 1e6:,.1f} µs") for n, seconds in ring.items()
    ]
    figures = {
        "growth/workers": max(costs[max(costs)] / costs[10] for costs in selection.values()),
        "growth/keys": ring[max(ring)] / ring[1],
    }
    return Section("Many workers, many keys", "", ("what", "CPU"), rows, figures)


SUITES: dict[str, Callable[[Bench], Section]] = {
    **{f"streamed-{n}": streamed(n) for n in (1, 10, 100, 1000)},
    **{f"peers-{n}": peers(n) for n in (10, 100)},
    "whole": whole,
    "events": events,
    "dialects": coalesced,
    "beside-idle": beside("idle"),
    "beside-open": beside("open"),
    "memory": memory,
    "cancel": cancel,
    "failover": failover,
    "observers": observers,
    "growth": growth,
}
