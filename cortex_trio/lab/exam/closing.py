"""Callers leave, servers close, readers are slow: S17, S26 and S29."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import trio
import trio.testing

from ...failures import FailureKind
from ...gateway.cortex import Cortex
from ...gateway.request.stream import ChatStream
from ...simulator.behaviour import Behaviour
from ...simulator.held import connected, leftovers
from ...simulator.provider import SimulatedProvider
from .scenario import scenario
from .setup import GOOD, SIXTY, Setup, check, equal

S17 = scenario(
    "S17", "the caller cancels mid-stream", "the connection is closed before control returns; nothing is held"
)
S26 = scenario(
    "S26", "slow consumer, fast provider of 1 GB", "memory bounded, reading from the provider paused"
)
S29 = scenario(
    "S29",
    "a connection reused after the server closed it",
    "the request is sent again on a new one; the caller sees no failure",
)


@S17.parts_for(
    {how: how for how in ("break", "cancel", "exception")},
    "leaving a stream early closes its connection before control returns",
)
async def caller_leaves(setup: Setup, how: str) -> None:
    primary = setup.primary(Behaviour(text=SIXTY, stall_after=3))
    async with setup.gateway() as cortex:
        streams: list[ChatStream] = []
        with trio.CancelScope() as scope:
            try:
                async with cortex.chat("Hi") as answer:
                    streams.append(answer)
                    async for _ in answer.text():
                        equal(primary.open_connections, 1, "connections open while it is read")
                        if how == "break":
                            break
                        if how == "exception":
                            raise LookupError("not interested any more")
                        scope.cancel()
            except LookupError:
                equal(how, "exception", "what comes out")
            finally:  # no checkpoint lies between leaving the stream and here
                _check_closed(setup, cortex, primary)
        equal(scope.cancelled_caught, how == "cancel", "whether it was cancelled")
        await setup.settle(lambda: not primary.open_connections and not leftovers(cortex))
        equal((primary.open_connections, dict(leftovers(cortex))), (0, {}), "what is left")
        kinds = [attempt.failure and attempt.failure.kind for attempt in streams[0].attempts]
        equal(kinds, [FailureKind.CANCELLED], "the ledger")
        health = await cortex.health_status()
        equal((health.system_health, health.workers["primary"].failures), ("healthy", 0), "what it counts")


def _check_closed(setup: Setup, cortex: Cortex, primary: SimulatedProvider) -> None:
    in_use = leftovers(cortex).get("primary: connections in use", 0)
    equal(in_use, 0, "connections in use after leaving")
    if setup.is_virtual:
        equal(primary.open_connections, 0, "connections open after leaving")


@S17.part("a deadline of the caller does not count as a failure of a worker")
async def callers_deadline(setup: Setup) -> None:
    primary = setup.primary(Behaviour(silent=True), GOOD)
    async with setup.gateway() as cortex:
        for _ in range(5):
            primary.behave(Behaviour(silent=True))
            with trio.move_on_after(setup.second) as scope:
                await cortex.complete("Hi")
            check(scope.cancelled_caught, "the deadline is the caller's")
            untold = {"leases", "primary: in flight", "primary: keys in use"}
            check(not leftovers(cortex).keys() - untold, f"no connection is held ({leftovers(cortex)})")
        primary.behave(GOOD)
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer after it")


# ------------------------------------------------------------------ S26: a slow reader

MEGABYTE = 1024 * 1024


class _Torrent(Sequence[str]):
    """A gigabyte of text, generated while it is sent."""

    def __len__(self) -> int:
        return 1_000_000

    def __iter__(self) -> Iterator[str]:
        return itertools.repeat("x" * 1000, len(self))

    def __getitem__(self, place: object) -> str:
        return "x" * 1000


@S26.part("a slow consumer pauses a fast provider")
async def slow_consumer(setup: Setup) -> None:
    primary = setup.primary(Behaviour(tokens=_Torrent()))
    bound = MEGABYTE / 2 if setup.is_virtual else 8 * MEGABYTE  # the kernel's buffers
    async with setup.gateway() as cortex:
        async with cortex.chat("Hi") as answer:
            taken = 0
            async for piece in answer.text():
                taken += len(piece)
                if taken % 50_000 == 0:
                    await trio.testing.wait_all_tasks_blocked()
                    ahead = primary.bytes_sent - 2 * taken
                    check(ahead < bound, f"the upstream waits for its reader ({ahead:,} bytes ahead)")
                if taken >= 1_000_000:
                    break
        await setup.settle(lambda: not connected(setup.sim))
        equal(dict(connected(setup.sim)), {}, "connections open after leaving")


# ------------------------------------------------------------------ S29: kept connections

DEAD = {
    "on reuse": (Behaviour(close_on_reuse=True),) * 2,
    "when idle": (Behaviour(close_idle=True),) * 2,
    "on reuse, then when idle": (Behaviour(close_on_reuse=True), Behaviour(close_idle=True)),
}


@S29.parts_for(DEAD, "a dead kept-alive connection is replaced, and the caller sees no failure")
async def reused_connection(setup: Setup, last: Sequence[Behaviour]) -> None:
    primary = setup.primary(*last, GOOD)
    async with setup.gateway() as cortex:
        replies = [await cortex.complete("Hi") for _ in range(3)]
        health = await cortex.health_status()
    equal(replies[-1].text, GOOD.text, "the answer")
    equal([len(reply.attempts) for reply in replies], [1, 1, 1], "attempts")
    equal((primary.connections_made, len(primary.requests)), (3, 3), "connections and requests")
    equal(health.workers["primary"].failures, 0, "failures counted")


@S29.part("a working connection is reused")
async def healthy_connection(setup: Setup) -> None:
    primary = setup.primary(GOOD)
    async with setup.gateway() as cortex:
        for _ in range(5):
            await cortex.complete("Hi")
    equal((primary.connections_made, len(primary.requests)), (1, 5), "connections and requests")
