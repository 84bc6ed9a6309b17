"""`cortex-trio serve` with a real store: processes and the store are killed while all of them serve calls."""

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import final

import attrs
import httpx
import pytest
import trio
from cli_process import CORTEX, environment, run, simulated
from real_server import RealServer, needs_server, running
from serve_process import Serving, serving, until

from cortex_trio.server.virtual_keys import sha256_of
from cortex_trio.simulator import Behaviour, Simulator

pytest.importorskip("glide")
pytestmark = [needs_server, pytest.mark.slow]

PER_MINUTE = 60
SLICE = PER_MINUTE / 20
USD = 100.0
PRICE = 100_000.0
"""US dollars per million tokens: two or three calls cost a slice of the budget."""
BODY = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]}
OPEN = {"authorization": "Bearer sk-open"}
LIMITED = {"authorization": "Bearer sk-limited"}
PAYING = {"authorization": "Bearer sk-paying"}


@final
@attrs.frozen
class Gateway:
    """A process that serves, and a client that makes a connection for each request."""

    server: Serving
    client: httpx.AsyncClient

    async def call(self, key: Mapping[str, str]) -> httpx.Response:
        url = f"{self.server.url}/v1/chat/completions"
        return await self.client.post(url, json=BODY, headers=dict(key))

    async def metric(self, name: str) -> float:
        text = (await self.client.get(f"{self.server.url}/metrics", headers=OPEN)).text
        values = [line.split()[-1] for line in text.splitlines() if line.startswith(f"{name} ")]
        return float(values[0]) if values else 0.0

    async def is_linked(self) -> bool:
        return await self.metric("cortex_store_connected") == 1

    async def admits(self, key: Mapping[str, str], calls: int) -> int:
        """Make so many calls; return how many were served."""
        return [(await self.call(key)).status_code for _ in range(calls)].count(200)

    async def use_up(self, key: Mapping[str, str]) -> tuple[int, float]:
        """Make calls until they are refused for longer than a slice may take; return how many cost how much."""
        admitted, usd = 0, 0.0
        while True:
            answer = await self.call(key)
            if answer.status_code == 200:
                admitted, usd = admitted + 1, usd + cost_of(answer)
            elif float(answer.headers.get("retry-after", 1000)) > 1:
                return admitted, usd
            else:
                await trio.sleep(0.01)

    async def load(self, key: Mapping[str, str], statuses: Counter[int], ended: trio.Event) -> None:
        """Make calls until `ended`. None is cancelled: its request might still reach a provider."""
        while not ended.is_set():
            statuses[(await self.call(key)).status_code] += 1
            await trio.sleep(0.01)


def cost_of(answer: httpx.Response) -> float:
    """Return the dollars that a call has cost; 0 if it was refused."""
    tokens: int = answer.json()["usage"]["total_tokens"] if answer.status_code == 200 else 0
    return tokens * PRICE / 1e6


def configured(folder: Path, sim: Simulator, store: RealServer, name: str) -> str:
    """Write the configuration of a process; return its path."""
    workers = {
        provider: {
            "provider": provider,
            "base_url": served.url,
            "api_keys": [f"sk-of-{provider}-1"],
            "models": ["m"],
            "priority": place,
        }
        for place, (provider, served) in enumerate(sim.providers.items())
    }
    keys = [
        {"name": "open", "key_sha256": sha256_of("sk-open")},
        {"name": "limited", "key_sha256": sha256_of("sk-limited"), "requests_per_minute": PER_MINUTE},
        {"name": "paying", "key_sha256": sha256_of("sk-paying"), "budget": {"usd": USD, "per": "total"}},
    ]
    prices = {"m": {"input": PRICE, "output": PRICE}}
    settings = {"prices": prices, "health_check_interval": 0, "max_wait": 0, "store": store.url}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**workers, "$settings": settings, "$keys": keys}))
    return str(path)


@asynccontextmanager
async def gateway(
    tmp_path: Path, sim: Simulator, store: RealServer, name: str, *options: str
) -> AsyncIterator[Gateway]:
    """Run a process that has opened its link to the store."""
    folder = tmp_path / name
    folder.mkdir()
    path = configured(folder, sim, store, name)
    alone = httpx.Limits(max_keepalive_connections=0)
    async with (
        serving(folder, "--config", path, "--grace", "1", *options, env=environment()) as server,
        httpx.AsyncClient(trust_env=False, verify=False, limits=alone) as client,
    ):
        opened = Gateway(server, client)
        await until(opened.is_linked)
        yield opened


async def test_killing_the_store_and_a_process_loses_no_call_no_cooldown_and_one_slice_at_most(
    tmp_path: Path,
) -> None:
    with running() as store:
        async with (
            simulated(openai=Behaviour(), anthropic=Behaviour()) as sim,
            gateway(tmp_path, sim, store, "one") as one,
            gateway(tmp_path, sim, store, "two") as two,
        ):
            statuses, ended = Counter[int](), trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.load, OPEN, statuses, ended)
                nursery.start_soon(two.load, OPEN, statuses, ended)
                for pause in (0.1, 0.43, 0.77):  # at different places of what the links do
                    await trio.sleep(pause)
                    store.kill()
                    await trio.sleep(pause)
                    await trio.to_thread.run_sync(store.start)
                await until(one.is_linked)
                await until(two.is_linked)
                ended.set()
            assert set(statuses) == {200}
            assert statuses.total() > 20

            asked = len(sim["openai"].requests)
            sim["openai"].behave(Behaviour(status=429, retry_after=600))
            used, usd = await one.admits(LIMITED, int(SLICE * 1.5)), 0.0
            assert used == int(SLICE * 1.5)
            for _ in range(2):
                price = cost_of(await one.call(PAYING))
                assert 0 < price < USD / 20
                usd += price
            one.server.process.kill()
            await one.server.process.wait()
            async with gateway(tmp_path, sim, store, "three") as three:  # in its place
                for each in (two, three):
                    used += (await each.use_up(LIMITED))[0]
                    usd += (await each.use_up(PAYING))[1]
            assert len(sim["openai"].requests) == asked + 1  # the cooldown stays
            assert PER_MINUTE - SLICE <= used <= PER_MINUTE + 2 * SLICE
            assert USD * 0.95 - price <= usd <= USD * 1.1 + 2 * price
            assert await two.server.stop() == 0
            assert "Traceback" not in two.server.err.read_text()


@pytest.mark.skipif(shutil.which("ps") is None, reason="needs ps to find the processes")
async def test_several_workers_share_a_store_and_one_that_is_killed_costs_a_slice_at_most(
    tmp_path: Path,
) -> None:
    with running() as store:
        async with (
            simulated(openai=Behaviour()) as sim,
            gateway(tmp_path, sim, store, "both", "--workers", "2") as both,
        ):

            async def are_two() -> bool:
                return await both.metric("cortex_store_processes") == 2

            await until(are_two)
            used = await both.admits(LIMITED, int(SLICE * 3))
            parent = str(both.server.process.pid)
            listed = await trio.run_process(["ps", "-o", "pid=", "--ppid", parent], capture_stdout=True)
            os.kill(int(listed.stdout.split()[0]), signal.SIGKILL)
            await until(lambda: both.server.has_logged("has ended with status -9"))
            await until(are_two)
            for _ in range(2):  # the process that answers may not be the last that has a slice
                used += (await both.use_up(LIMITED))[0]
            assert PER_MINUTE - 2 * SLICE <= used <= PER_MINUTE + 3 * SLICE
            assert await both.server.stop() == 0
            assert "Traceback" not in both.server.err.read_text()


async def test_a_store_that_cannot_be_configured_is_reported_before_any_worker_starts(tmp_path: Path) -> None:
    path = tmp_path / "gateway.json"
    providers = {"ollama": {"models": ["m"], "base_url": "http://127.0.0.1:9"}}
    path.write_text(json.dumps({**providers, "$settings": {"store": "valkeys://host?ca=/no/such/file.pem"}}))
    ended = await run(
        *CORTEX, "serve", "--port", "0", "--workers", "2", "--config", str(path), env=environment()
    )
    assert ended.status == 2
    assert "store: the file of ca cannot be used" in ended.err
    assert "worker" not in ended.err
