"""What a shared store costs and how fast it is: `python -m benchmarks.cluster`. Needs valkey-server or redis-server.

Starts a server and gateways in processes of their own, kills and stops the server, kills processes, and prints the
figures beside the goals of docs/cluster.md, and whether each is met. Times of different processes are compared on the
monotonic clock of the machine. Takes about two minutes; needs a machine that does nothing else.
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
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial

import attrs
import trio
import trio.lowlevel

from cortex_trio import Config, Cortex, CortexError, open_cortex
from cortex_trio.cluster import Entry, ValkeyStore
from cortex_trio.gateway.request.candidates import CallCandidates
from cortex_trio.gateway.routing.eligibility import Criteria
from cortex_trio.gateway.runtime import Runtime
from cortex_trio.gateway.startup import open_runtime
from cortex_trio.simulator import Behaviour, SimRequest, open_simulator
from cortex_trio.telemetry import CooldownStarted, Event

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")
ROUNDS = 100
MOST_TIMES_ALONE = 2
"""How long news may take, compared with an entry of the store without gateways, in the same run: how long threads and
processes take to wake is up to the machine."""
IDLE_SECONDS = 0.05
"""Between two rounds: the other process has received an entry by then, and the processors are idle again."""
LIMIT = 1000
PROCESSES = 4
SLICE = LIMIT / 20
USING_SECONDS = 10.0
"""How long a limit is used: long enough to use it up, and shorter than the minute after which it is whole again."""
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


async def receive(url: str) -> None:
    """The other process without a gateway: print the time at which each entry arrives."""
    async with ValkeyStore(url).open_link("receiver") as link:
        entries = await link.subscribe()
        print("ready", flush=True)
        async for _ in entries:
            print(time.monotonic(), flush=True)


async def charge(url: str) -> None:
    """One of the processes that use up a limit: print how often it was admitted until now, again and again."""
    async with open_simulator() as sim:
        sim.add("openai")
        config = Config(workers={"openai": sim["openai"].worker()}, health_check_interval=0)
        async with open_runtime(config, http_transport=sim.transport, store=ValkeyStore(url)) as runtime:
            assert runtime.sharing is not None
            limit = runtime.sharing.limits.limit("bench", LIMIT, lambda: 60.0)
            print("ready", flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline)
            admitted, until = 0, trio.current_time() + USING_SECONDS
            while trio.current_time() < until:
                if limit.seconds_until(1) == 0:
                    limit.charge(1)
                    admitted += 1
                    print(admitted, flush=True)
                await trio.sleep(0.01)


async def call(url: str) -> None:
    """One of the processes that serve: print the calls that were served, those that failed, and the longest."""
    served, failed, longest = 0, 0, 0.0
    async with gateway(url, models=MODELS[:1]) as cortex:
        await cortex.complete("Hi")  # what is loaded at the first use
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        until = trio.current_time() + USING_SECONDS
        while trio.current_time() < until:
            began = time.monotonic()
            try:
                await cortex.complete("Hi", max_wait=0)
                served += 1
            except CortexError:
                failed += 1
            longest = max(longest, time.monotonic() - began)
            await trio.sleep(0.005)
    print(served, failed, longest, flush=True)


@attrs.frozen
class Child:
    """A process of this benchmark."""

    process: subprocess.Popen[str]

    def line(self) -> str:
        """Return its next line."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def go(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def last_line(self) -> str:
        """Return its last line, as soon as it has ended or was killed."""
        assert self.process.stdout is not None
        return self.process.stdout.read().split("\n")[-2]


@contextmanager
def child(mode: str, url: str) -> Iterator[Child]:
    command = [sys.executable, "-m", "benchmarks.cluster", mode, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            started = Child(process)
            started.line()  # it is ready
            yield started
        finally:
            process.kill()


@contextmanager
def children(mode: str, url: str, number: int) -> Iterator[list[Child]]:
    with ExitStack() as stack:
        yield [stack.enter_context(child(mode, url)) for _ in range(number)]


# ------------------------------------------------------------------ the figures


missed: list[str] = []


def show(what: str, value: str, goal: str, met: bool | None) -> None:
    """Print a figure. `met` is None for what has no goal."""
    if met is False:
        missed.append(what)
    print(f"| {what} | {value} | {goal} | {'' if met is None else 'met' if met else 'MISSED'} |", flush=True)


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


async def arrivals(rounds: int) -> list[float]:
    """Return how long entries take from process to process with the store alone, without gateways."""
    taken = []
    with running() as server, child("receive", server.url) as receiver:
        async with ValkeyStore(server.url).open_link("sender") as link:
            for number in range(rounds):
                began = time.monotonic()
                await link.put(Entry(f"cooldown:{number}", str(number), "", 60.0))
                await trio.sleep(IDLE_SECONDS)
                taken.append(float(receiver.line()) - began)
    return taken


async def news(rounds: int) -> None:
    with running() as server, child("listen", server.url) as listener:
        taken: list[float] = []
        async with gateway(server.url) as cortex:
            for number in range(rounds):
                await find_out(cortex, MODELS[number])
                began = time.monotonic()
                await trio.sleep(IDLE_SECONDS)
                taken.append(max(0.0, float(listener.line().split()[1]) - began))
    alone = statistics.median(await arrivals(rounds))
    show(
        "an entry of the store arrives in another process, without gateways",
        f"median {alone * 1e3:.1f} ms",
        "",
        None,
    )
    common, longest = statistics.median(taken), max(taken)
    text = f"median {common * 1e3:.1f} ms, longest {longest * 1e3:.1f} ms"
    goal = f"median {MOST_TIMES_ALONE} times that, longest 20 ms"
    is_met = common <= MOST_TIMES_ALONE * alone and longest <= 0.02
    show("a cooldown is known in another process", text, goal, is_met)


async def decisions(seconds: float) -> None:
    async def measure(what: str, runtime: Runtime, has_goal: bool = True) -> None:
        """Choose the worker of a call again and again, while other tasks run between."""
        candidates = CallCandidates(runtime, Criteria())
        taken: list[float] = []  # CPU: other programs on the machine do not count
        waited: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began, began_cpu = time.monotonic(), time.thread_time()
            candidates.choose(trio.current_time())
            taken.append(time.thread_time() - began_cpu)
            waited.append(time.monotonic() - began)
            await trio.lowlevel.checkpoint()
        text = f"median {statistics.median(taken) * 1e3:.3f} ms, slowest {max(taken) * 1e3:.2f} ms"
        text += f" of CPU ({max(waited) * 1e3:.2f} ms by the clock)"
        show(what, text, "1 ms" if has_goal else "", max(taken) <= 0.001 if has_goal else None)

    async with open_simulator() as sim:
        workers = {name: sim.add(name).worker() for name in ("openai", "anthropic")}
        config = Config(workers=workers, health_check_interval=0)
        async with open_runtime(config, http_transport=sim.transport) as runtime:
            await measure("a decision without a store", runtime, has_goal=False)
        with running() as server:
            store = ValkeyStore(server.url)
            async with open_runtime(config, http_transport=sim.transport, store=store) as runtime:
                sharing = runtime.sharing
                assert sharing is not None
                await measure("a decision with a store", runtime)
                server.process.send_signal(signal.SIGSTOP)
                await measure("… while the store hangs", runtime)
                server.process.send_signal(signal.SIGCONT)
                await until(lambda: sharing.link.connected)
                server.kill()
                await measure("… while the store is dead", runtime)
                server.start()


async def outages(rounds: int) -> None:
    dead, hanging, back = [], [], []
    with running() as server:
        async with gateway(server.url) as first, gateway(server.url) as second, gateway(server.url) as third:
            all_of_them = first, second, third

            def are_connected(expected: bool) -> bool:
                return all(is_connected(cortex) == expected for cortex in all_of_them)

            def know(count: int) -> bool:
                return all(has_cooldowns(cortex, count) for cortex in all_of_them)

            await until(partial(are_connected, True))
            for number in range(rounds):
                server.kill()  # and with it its data
                dead.append(await until(partial(are_connected, False)))
                await find_out(first, MODELS[2 * number])
                await find_out(second, MODELS[2 * number + 1])
                await trio.sleep(1)
                server.start()
                back.append(await until(partial(know, 2 * number + 2)))
                await until(partial(are_connected, True))
                server.process.send_signal(signal.SIGSTOP)
                hanging.append(await until(partial(are_connected, False)))
                server.process.send_signal(signal.SIGCONT)
                await until(partial(are_connected, True))
    show("a dead store is noticed by all", f"within {max(dead):.2f} s", "0.5 s", max(dead) <= 0.5)
    show("a store that hangs is noticed by all", f"within {max(hanging):.2f} s", "1 s", max(hanging) <= 1)
    show("after its return all know everything", f"within {max(back):.2f} s", "2 s", max(back) <= 2)


def limit(what: str, least: float, most: float, harm: Callable[[Server, list[Child]], None]) -> None:
    """Let processes use up a limit while `harm` does something to the server or to one of them."""
    with running() as server, children("charge", server.url, PROCESSES) as started:
        for one in started:
            one.go()
        time.sleep(1.0)
        harm(server, started)
        admitted = [int(one.last_line()) for one in started]
    show(
        f"{PROCESSES} processes with a limit of {LIMIT}{what}",
        f"admitted {sum(admitted)} ({', '.join(map(str, admitted))})",
        f"{least:g} to {most:g}",
        least <= sum(admitted) <= most,
    )


def nothing(server: Server, started: list[Child]) -> None:
    return


def kill_one(server: Server, started: list[Child]) -> None:
    started[0].process.kill()


def kill_store(server: Server, started: list[Child]) -> None:
    server.kill()
    time.sleep(1.0)
    server.start()


def calls(kills: int) -> None:
    """Kill the server again and again while processes serve calls."""
    with running() as server, children("call", server.url, 2) as started:
        for one in started:
            one.go()
        for number in range(kills):
            time.sleep(0.2 + 0.07 * number)  # at different places of what the links do
            server.kill()
            time.sleep(0.6)
            server.start()
        counted = [one.last_line().split() for one in started]
    served, failed = sum(int(line[0]) for line in counted), sum(int(line[1]) for line in counted)
    longest = max(float(line[2]) for line in counted)
    text = f"{failed} of {served + failed} (the longest took {longest * 1e3:.0f} ms)"
    show(f"calls lost while the store is killed {kills} times", text, "0", failed == 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument(
        "mode", nargs="?", choices=["all", "listen", "receive", "charge", "call"], default="all"
    )
    parser.add_argument("url", nargs="?")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.mode == "listen":
        trio.run(listen, options.url)
    elif options.mode == "receive":
        trio.run(receive, options.url)
    elif options.mode == "charge":
        trio.run(charge, options.url)
    elif options.mode == "call":
        trio.run(call, options.url)
    elif PROGRAM is None:
        sys.exit("neither valkey-server nor redis-server is installed")
    else:
        print("| what | measured | goal | |\n| --- | --- | --- | --- |")
        trio.run(news, 10 if options.quick else ROUNDS)
        trio.run(decisions, 0.5 if options.quick else 3.0)
        trio.run(outages, 1 if options.quick else 5)
        limit("", 0.95 * LIMIT, 1.05 * LIMIT, nothing)
        # One slice may be lost with a process; the limit is exceeded by at most one slice for each process.
        limit(", one is killed", LIMIT - SLICE, LIMIT + PROCESSES * SLICE, kill_one)
        limit(", the store is killed", 0.95 * LIMIT, LIMIT + PROCESSES * SLICE, kill_store)
        calls(3 if options.quick else 8)
        sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
