"""What a shared store costs and how fast it is: `python -m benchmarks.cluster`. Needs valkey-server or redis-server.

Starts a server and gateways in processes of their own, kills and stops the server, and prints the figures beside the
goals of docs/cluster.md. Times of different processes are compared on the monotonic clock of the machine.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import IO

import trio
import trio.lowlevel

from cortex_trio import Config, Cortex, CortexError, open_cortex
from cortex_trio.cluster import ValkeyStore
from cortex_trio.gateway.startup import open_runtime
from cortex_trio.simulator import Behaviour, SimRequest, open_simulator
from cortex_trio.telemetry import CooldownStarted, Event

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")
ROUNDS = 100
LIMIT = 1000
PROCESSES = 4
MODELS = tuple(f"model-{number}" for number in range(ROUNDS + 10))


# ------------------------------------------------------------------ the server


class Server:
    """A server without persistence."""

    def __init__(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        self.url = f"valkey://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        assert PROGRAM is not None
        command = [PROGRAM, "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.005)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running() -> Iterator[Server]:
    server = Server()
    server.start()
    try:
        yield server
    finally:
        server.kill()


# ------------------------------------------------------------------ gateways


def limited(request: SimRequest) -> Behaviour:
    return Behaviour(status=429, retry_after=600)


@asynccontextmanager
async def gateway(
    url: str | None, on_event: Callable[[Event], None] | None = None, models: Sequence[str] = MODELS
) -> AsyncIterator[Cortex]:
    """A gateway with a worker that is limited, and one that serves."""
    async with open_simulator() as sim:
        first, second = sim.add("openai", limited), sim.add("anthropic")
        workers = {
            "openai": first.worker(models=models),
            "anthropic": second.worker(),
        }
        config = Config(workers=workers, health_check_interval=0)
        async with open_cortex(
            config,
            http_transport=sim.transport,
            store=ValkeyStore(url) if url else None,
            on_event=on_event,
        ) as cortex:
            yield cortex


async def find_out(cortex: Cortex, model: str) -> None:
    """Let the gateway find out that the API key is limited for a model."""
    try:
        await cortex.complete("Hi", worker="openai", model=model, max_wait=0)
    except CortexError:
        return


async def listen(url: str) -> None:
    """The other process: print the time at which each cooldown is known."""

    def note(event: Event) -> None:
        if isinstance(event, CooldownStarted):
            print(event.model, time.monotonic(), flush=True)

    async with gateway(url, note):
        print("ready", flush=True)
        await trio.sleep_forever()


async def charge(url: str) -> None:
    """One of the processes that use up a limit: print how often it was admitted."""
    async with open_simulator() as sim:
        sim.add("openai")
        config = Config(workers={"openai": sim["openai"].worker()}, health_check_interval=0)
        async with open_runtime(config, http_transport=sim.transport, store=ValkeyStore(url)) as runtime:
            assert runtime.sharing is not None
            limit = runtime.sharing.limits.limit("bench", LIMIT, lambda: 60.0)
            print("ready", flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline)
            admitted, until = 0, trio.current_time() + 10
            while trio.current_time() < until:
                if limit.seconds_until(1) == 0:
                    limit.charge(1)
                    admitted += 1
                await trio.sleep(0.01)
            print(admitted, flush=True)


@contextmanager
def child(mode: str, url: str) -> Iterator[tuple[IO[str], IO[str]]]:
    command = [sys.executable, "-m", "benchmarks.cluster", mode, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdout.readline()  # it is ready
            yield process.stdin, process.stdout
        finally:
            process.kill()


# ------------------------------------------------------------------ the figures


def show(what: str, value: str, goal: str) -> None:
    print(f"| {what} | {value} | {goal} |", flush=True)


async def until(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not condition():  # noqa: ASYNC110 - no event says it
        await trio.sleep(0.001)
    return time.monotonic() - began


def is_connected(cortex: Cortex) -> bool:
    link = cortex.snapshot().cluster
    return link is not None and link.connected


def has_cooldowns(cortex: Cortex, count: int) -> bool:
    return len(cortex.snapshot().keys[0].cooldowns) >= count


async def news(rounds: int) -> None:
    with running() as server, child("listen", server.url) as (_, lines):
        taken: list[float] = []
        async with gateway(server.url) as cortex:
            for number in range(rounds):
                await find_out(cortex, MODELS[number])
                began = time.monotonic()
                line = (await trio.to_thread.run_sync(lines.readline)).split()
                taken.append(max(0.0, float(line[1]) - began))
    taken.sort()
    text = f"median {statistics.median(taken) * 1e3:.1f} ms, longest {taken[-1] * 1e3:.1f} ms"
    show("a cooldown is known in another process", text, "median 2 ms, longest 20 ms")


async def decisions(seconds: float) -> None:
    async def slowest(cortex: Cortex) -> tuple[float, float]:
        """Median and longest time to choose a worker."""
        cortex.explain("Hi")  # what is loaded at the first use
        taken: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.thread_time()  # CPU: other programs on the machine do not count
            cortex.explain("Hi")
            taken.append(time.thread_time() - began)
            await trio.lowlevel.checkpoint()
        taken.sort()
        return statistics.median(taken), taken[-1]

    async def measure(what: str, cortex: Cortex) -> None:
        common, longest = await slowest(cortex)
        show(what, f"median {common * 1e3:.2f} ms, slowest {longest * 1e3:.2f} ms", "1 ms")

    async with gateway(None, models=MODELS[:1]) as cortex:
        await measure("a decision without a store", cortex)
    with running() as server:
        async with gateway(server.url, models=MODELS[:1]) as cortex:
            await measure("a decision with a store", cortex)
            server.process.send_signal(signal.SIGSTOP)
            await measure("… while the store hangs", cortex)
            server.process.send_signal(signal.SIGCONT)
            await until(lambda: is_connected(cortex))
            server.kill()
            await measure("… while the store is dead", cortex)
            server.start()


async def outages(rounds: int) -> None:
    dead, hanging, back = [], [], []
    with running() as server:
        async with gateway(server.url) as first, gateway(server.url) as second:
            for number in range(rounds):
                server.kill()
                dead.append(await until(lambda: not is_connected(first)))
                await find_out(first, MODELS[number])
                known = len(second.snapshot().keys[0].cooldowns) + 1
                await trio.sleep(1)
                server.start()
                back.append(await until(partial(has_cooldowns, second, known)))
                server.process.send_signal(signal.SIGSTOP)
                hanging.append(await until(lambda: not is_connected(first)))
                server.process.send_signal(signal.SIGCONT)
                await until(lambda: is_connected(first) and is_connected(second))
    show("a dead store is noticed", f"within {max(dead):.2f} s", "0.5 s")
    show("a store that hangs is noticed", f"within {max(hanging):.2f} s", "1 s")
    show("after its return all know everything", f"within {max(back):.2f} s", "2 s")


def limit() -> None:
    with running() as server:
        with (
            child("charge", server.url) as one,
            child("charge", server.url) as two,
            child("charge", server.url) as three,
            child("charge", server.url) as four,
        ):
            children = one, two, three, four
            for writing, _ in children:
                writing.write("go\n")
                writing.flush()
            admitted = [int(reading.readline()) for _, reading in children]
    show(
        f"{PROCESSES} processes with a limit of {LIMIT}",
        f"admitted {sum(admitted)} ({', '.join(map(str, admitted))})",
        f"{LIMIT} ± 5 %",
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=["all", "listen", "charge"], default="all")
    parser.add_argument("url", nargs="?")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.mode == "listen":
        trio.run(listen, options.url)
    elif options.mode == "charge":
        trio.run(charge, options.url)
    elif PROGRAM is None:
        sys.exit("neither valkey-server nor redis-server is installed")
    else:
        print("| what | measured | goal |\n| --- | --- | --- |")
        trio.run(news, 10 if options.quick else ROUNDS)
        trio.run(decisions, 0.5 if options.quick else 3.0)
        trio.run(outages, 1 if options.quick else 5)
        limit()


if __name__ == "__main__":
    main()
