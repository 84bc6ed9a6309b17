"""Two processes share what they find out: a 429 that one of them gets keeps the other from asking the same key.

Starts a Valkey or Redis server if one is installed; otherwise both gateways share a store in memory.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from cortex_trio import open_cortex
from cortex_trio.cluster import MemoryStore, Store, ValkeyStore
from cortex_trio.simulator import Behaviour, open_simulator


@contextmanager
def running_store() -> Iterator[Store]:
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        yield MemoryStore()
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([program, "--port", str(port), "--save", ""], stdout=subprocess.DEVNULL)
    try:
        with socket.socket() as client:
            while client.connect_ex(("127.0.0.1", port)):
                time.sleep(0.01)
        yield ValkeyStore(f"valkey://127.0.0.1:{port}/0")
    finally:
        server.kill()
        server.wait()


async def main() -> None:
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(status=429, retry_after=30))
        sim.add("anthropic", Behaviour(text="At your service."))
        with running_store() as store:
            # In a real program these are two processes: each opens its gateway with the same CORTEX_STORE.
            async with (
                open_cortex(sim.config(), http_transport=sim.transport, store=store) as first,
                open_cortex(sim.config(), http_transport=sim.transport, store=store) as second,
            ):
                for name, gateway in (("first", first), ("second", second)):
                    reply = await gateway.complete("Hello?")
                    print(f"{name}: {reply.worker} served, {len(reply.attempts)} attempts")
                    await trio.sleep(0.5)
        print(f"openai was asked {len(sim['openai'].requests)} time")


trio.run(main)
