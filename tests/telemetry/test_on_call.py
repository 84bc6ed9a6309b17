"""One outage as it is seen from outside: of one provider, then of all, then recovery.

The socket, the page and the frame in the terminal are made from the same snapshot; each must show it within seconds.
"""

import io
import json
from pathlib import Path

import pytest
import trio
import trio.testing

from cortex_trio import Config, Cortex, CortexError, FailureKind, open_cortex
from cortex_trio.simulator import Behaviour, open_simulator
from cortex_trio.telemetry import Snapshot, from_json
from cortex_trio.telemetry.page import event
from cortex_trio.telemetry.socket_client import read_snapshot

pytest.importorskip("rich")

from rich.console import Console

from cortex_trio.cli.observe_history import History
from cortex_trio.cli.observe_view import Frame

DOWN = Behaviour(error=FailureKind.OVERLOADED)
RECOVERY_SECONDS = 120.0


def frame(snapshot: Snapshot) -> str:
    history = History()
    history.add(snapshot)
    out = io.StringIO()
    Console(file=out, width=100, highlight=False).print(Frame(snapshot, history, "a program"))
    return out.getvalue()


async def seen(cortex: Cortex, path: Path) -> tuple[Snapshot, str]:
    """The snapshot that the socket sends, and the frame made of it; the page gets an equal one."""
    await trio.testing.wait_all_tasks_blocked()
    snapshot = await read_snapshot(path)
    data = event(cortex.snapshot()).removeprefix(b"data: ")
    assert [worker.status for worker in from_json(data).workers] == [w.status for w in snapshot.workers]
    assert json.loads(data)["totals"]["failed"] == snapshot.totals.failed
    return snapshot, frame(snapshot)


async def ask(cortex: Cortex, times: int) -> int:
    """Calls that were served, of so many."""
    served = 0
    for _ in range(times):
        try:
            await cortex.complete("Hi", max_wait=0)
            served += 1
        except CortexError:
            pass
        await trio.sleep(0.5)
    return served


async def test_an_outage_of_one_provider_then_of_all_and_the_recovery_are_seen(
    tmp_path: Path, autojump_clock: object
) -> None:
    path = tmp_path / "c.sock"
    async with open_simulator() as sim:
        for name in ("openai", "anthropic"):
            sim.add(name)
        config = Config(
            workers={
                name: provider.worker(priority=place)
                for place, (name, provider) in enumerate(sim.providers.items())
            }
        )
        async with open_cortex(config, http_transport=sim.transport, observe=f"unix:{path}") as cortex:
            assert await ask(cortex, 4) == 4
            snapshot, text = await seen(cortex, path)
            assert "2 of 2 workers available" in text
            assert "nothing is wrong" in text

            sim["openai"].behave(lambda _: DOWN)
            assert await ask(cortex, 4) == 4  # the callers notice nothing
            snapshot, text = await seen(cortex, path)
            assert (snapshot.worker("openai").status, snapshot.worker("openai").reason) == (
                "unavailable",
                FailureKind.OVERLOADED,
            )
            assert "1 of 2 workers available" in text
            assert "openai overloaded 503" in text

            sim["anthropic"].behave(lambda _: DOWN)
            assert await ask(cortex, 12) == 0
            snapshot, text = await seen(cortex, path)
            assert "anthropic overloaded 529" in text
            assert snapshot.worker("anthropic").failures > 0

            for provider in sim.providers.values():
                provider.behave(Behaviour())
            await trio.sleep(RECOVERY_SECONDS)
            assert await ask(cortex, 8) == 8
            snapshot, text = await seen(cortex, path)
            assert "2 of 2 workers available" in text
            assert all(worker.breaker.state == "closed" for worker in snapshot.workers)
