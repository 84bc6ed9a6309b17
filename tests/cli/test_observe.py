"""`cortex-trio observe`: what a frame shows, the demo load, and a running program that ends and comes back."""

import io
import os
import re
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

pytest.importorskip("rich")

from rich.console import Console

from cortex_trio import Config, Cortex, CortexError, FailureKind, InvalidRequest, Price, Usage, open_cortex
from cortex_trio.cli.arguments import parser
from cortex_trio.cli.facts import dollars
from cortex_trio.cli.observe import INSTALL, NotObservable, observe, watch
from cortex_trio.cli.observe_history import History, duration, sparkline
from cortex_trio.cli.observe_load import EPISODES, KEYS, open_demo_load
from cortex_trio.cli.observe_view import Frame
from cortex_trio.simulator import Behaviour, Simulator, open_gateway, open_simulator
from cortex_trio.telemetry import Snapshot

OVERLOADED = Behaviour(error=FailureKind.OVERLOADED)


def drawn(snapshot: Snapshot, *, width: int = 80, encoding: str = "utf-8", **fields: Any) -> str:
    """A frame as text."""
    history = History()
    history.add(snapshot)
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    Console(file=out, width=width, highlight=False).print(Frame(snapshot, history, "a program", **fields))
    out.seek(0)
    return out.read()


def row(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


# ------------------------------------------------------------------ a frame


async def test_a_frame_shows_workers_tree_cooldowns_and_failures(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", *[OVERLOADED] * 6)
        sim.add("groq")
        async with open_gateway(sim) as cortex:
            for _ in range(6):
                await cortex.complete("Hi")
            cortex.actor("groq").kill()
            await trio.testing.wait_all_tasks_blocked()
            text = drawn(cortex.snapshot())
    assert "1 of 2 workers available" in row(text, "cortex_trio")
    assert re.search(r"✗ overloaded, \d+ s +open \d+ s", row(text, "openai"))
    assert "● available" in row(text, "groq")
    assert re.search(r"groq +running +1 +0", row(text, "│   └── groq"))
    assert "last failures" in text
    assert re.search(r"\dx openai overloaded 503", text)


async def test_a_frame_shows_keys_that_cool_down_and_calls_that_wait(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=429, retry_after=12), Behaviour())
        async with open_gateway(sim) as cortex, trio.open_nursery() as nursery:
            nursery.start_soon(cortex.complete, "Hi")
            await trio.sleep(1)
            nursery.start_soon(cortex.complete, "Hi")
            await trio.sleep(1)
            text = drawn(cortex.snapshot(), width=100)
    assert "waiting 2" in row(text, "calls")
    assert re.search(r"10 s +openai sk-\*\*\*01 rate limit", text)
    assert re.search(r"2 s 2x for openai \(rate limit\)", text)
    assert "0001" not in text


async def test_a_frame_fits_every_width_and_encoding(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=429, retry_after=12))
        other = sim.add("a provider with a long name", OVERLOADED, provider="groq")
        other.api_keys = ("sk-sim-of-another-0001",)  # the usual key repeats the name, which may be shown
        async with open_gateway(sim) as cortex:
            with pytest.raises(CortexError):
                await cortex.complete("Hi", max_wait=0)
            snapshot = cortex.snapshot()
    for width in (40, 60, 80, 110, 160, 300):
        for encoding in ("utf-8", "ascii"):
            text = drawn(snapshot, width=width, encoding=encoding, note="A note.")
            assert max(len(line) for line in text.splitlines()) <= width
            assert "A note." in text
            assert all(name in text for name in ("registry", "keys", "health", "openai"))
            assert "?" not in text


async def test_a_gateway_without_workers_and_faults_is_shown(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai")
        async with open_gateway(sim) as cortex:
            await cortex.remove_worker("openai")
            text = drawn(cortex.snapshot())
    assert "no workers" in text
    assert "nothing is wrong" in text


def test_durations_and_sparklines() -> None:
    assert [duration(seconds) for seconds in (0.4, 59, 61, 3_661)] == ["0 s", "59 s", "1:01", "1:01:01"]
    assert sparkline((1, 2, 4, 8), 3) == "▃▅█"
    assert sparkline((), 3) == ""
    assert sparkline((0, 0), 3) == "▁▁"


async def test_the_history_counts_each_attempt_once(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(first_token_after=0.5))
        async with open_gateway(sim) as cortex:
            history = History()
            for _ in range(3):
                await cortex.complete("Hi")
                await trio.testing.wait_all_tasks_blocked()
                history.add(cortex.snapshot())
                history.add(cortex.snapshot())
            assert history.latencies("openai") == pytest.approx([0.5] * 3)
            assert history.rates().output_tokens > 0


async def test_the_cost_per_minute_is_shown_where_a_price_is_known(autojump_clock: object) -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(usage=Usage(1000, 0)), models=["m-1"])
        for prices, shown in ({"m-1": Price(1000.0, 0)}, "tokens in, 0 out, $"), ({}, "tokens in, 0 out\n"):
            async with open_gateway(sim, prices=prices) as cortex:
                await cortex.complete("Hi")
                snapshot = cortex.snapshot()
            history = History()
            history.add(snapshot)
            assert (history.rates().cost or 0) >= (1.0 if prices else 0.0)
            assert (history.rates().cost is None) == (not prices)
            line = row(drawn(snapshot, width=120), "calls").rstrip() + "\n"
            assert shown in line


def test_amounts_of_dollars() -> None:
    amounts = (0.0, 1e-12, 0.000012345, 0.0099, 0.01, 1.239, 1234.5)
    assert [dollars(amount) for amount in amounts] == [
        "$0.00",
        "$0.00",
        "$0.000012",
        "$0.0099",
        "$0.01",
        "$1.24",
        "$1,234.50",
    ]


async def test_a_restarted_program_begins_a_new_history(autojump_clock: object) -> None:
    history = History()
    for calls in (2, 1):
        async with open_simulator() as sim:
            sim.add("openai")
            async with open_gateway(sim) as cortex:
                for _ in range(calls):
                    await cortex.complete("Hi")
                await trio.testing.wait_all_tasks_blocked()
                history.add(cortex.snapshot())
    assert len(history.latencies("openai")) == 1


# ------------------------------------------------------------------ the demo load


@pytest.mark.slow
async def test_the_demo_load_has_every_fault_it_names(autojump_clock: object) -> None:
    seen: set[str] = set()
    async with open_demo_load() as load:
        for _ in range(int(sum(episode.seconds for episode in EPISODES))):
            await trio.sleep(1)
            snapshot = load.snapshot()
            seen.update(f"{key.key} cools down" for key in snapshot.keys if key.cooldowns)
            seen.update(f"{worker.name} is {worker.status}" for worker in snapshot.workers)
            if snapshot.waiting:
                seen.add("calls wait")
    assert {"anthropic is unavailable", "groq is unavailable", "calls wait"} <= seen
    assert f"{KEYS[0][:3]}***{KEYS[0][-2:]} cools down" in seen
    assert snapshot.worker("groq").restarts == 1
    assert all(worker.status == "available" for worker in snapshot.workers)


@pytest.mark.slow
async def test_once_prints_one_frame_of_the_demo(
    autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await watch(None, True, None, False) == 0
    out = capsys.readouterr().out
    assert out.count("cortex_trio") == 1
    assert "demo load" in out
    assert "\x1b" not in out


@pytest.mark.slow
async def test_an_svg_is_written_that_loads_nothing(tmp_path: Path, autojump_clock: object) -> None:
    await watch(None, False, tmp_path / "observe.svg", False)
    text = await trio.Path(tmp_path / "observe.svg").read_text(encoding="utf-8")
    assert text.startswith("<svg")
    assert "anthropic" in text
    assert re.findall(r"url\([^#]|href=|@import", text) == []


# ------------------------------------------------------------------ a running program


def program(sim: Simulator, path: Path) -> AbstractAsyncContextManager[Cortex]:
    config = Config(workers={"openai": sim["openai"].worker()}, health_check_interval=0)
    return open_cortex(config, http_transport=sim.transport, observe=f"unix:{path}")


async def test_once_prints_one_frame_of_a_program(
    tmp_path: Path, autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cortex.sock"
    async with open_simulator() as sim:
        sim.add("openai")
        async with program(sim, path) as cortex:
            await cortex.complete("Hi")
            await watch(f"unix:{path}", True, None, False)
    assert "calls 1" in capsys.readouterr().out


async def test_a_program_that_ends_is_connected_to_again(
    tmp_path: Path, autojump_clock: object, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.sock"
    async with open_simulator() as sim, trio.open_nursery() as nursery:
        sim.add("openai")
        async with program(sim, path):
            nursery.start_soon(watch, str(path), False, None, False)
            await trio.sleep(6)
        await trio.sleep(6)
        async with program(sim, path) as cortex:
            await cortex.complete("Hi")
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
    out = capsys.readouterr().out
    connected, lost, back = (out.find(part) for part in ("calls 0", "Connection lost", "calls 1"))
    assert 0 <= connected < lost < back, out


async def test_a_socket_without_a_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotObservable, match=r"cannot observe /.*: No such file or directory"):
        await watch(str(tmp_path / "missing.sock"), False, None, False)
    assert issubclass(NotObservable, CortexError)


# ------------------------------------------------------------------ the command


def test_without_rich_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(InvalidRequest, match=re.escape(INSTALL)):
        observe(parser().parse_args(["observe"]))


def test_a_file_that_cannot_be_written_is_reported_before_anything_starts(tmp_path: Path) -> None:
    for file, message in ((tmp_path, "is a folder"), (tmp_path / "missing" / "x.svg", "there is no folder")):
        with pytest.raises(InvalidRequest, match=message):
            observe(parser().parse_args(["observe", "--svg", os.fspath(file)]))
