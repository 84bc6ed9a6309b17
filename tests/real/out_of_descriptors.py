"""Run by test_class_04_own_limits: a process whose descriptors run out under a gateway, and come back."""

import os
import resource
import sys
from contextlib import suppress

import pytest
import trio
from raw_bytes import TEXT, said
from raw_server import World, open_world, play

from cortex_trio import CortexError
from cortex_trio.costs import load_prices

LIMIT, IDLE = 256, 60


def use_up(spare: int = 0) -> list[int]:
    """Open files until there is no descriptor; leave `spare`."""
    held: list[int] = []
    with suppress(OSError):
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    for descriptor in held[len(held) - spare :]:
        os.close(descriptor)
    return held[: len(held) - spare]


async def chat(world: World) -> None:
    """Calls fail and say why; when there are descriptors again, the next call is served at once."""
    server = world.server()
    async with world.gateway() as cortex:
        held = use_up()
        for _ in range(20):
            with pytest.raises(CortexError, match=r"(?i)too many open files"):
                await cortex.complete("Hi", max_attempts=1, first_token_timeout=1)
        for descriptor in held:
            os.close(descriptor)
        with trio.fail_after(10):
            assert (await cortex.complete("Hi")).text == TEXT
        assert (await cortex.health_status()).workers[server.name].status == "available"


async def check(world: World) -> None:
    """A check that found no descriptor proves nothing."""
    first, _ = world.server(), world.server()
    async with world.gateway() as cortex:
        held = use_up()
        status = await cortex.check_health()
        for descriptor in held:
            os.close(descriptor)
        assert status.workers[first.name].status == "available"
        assert (await cortex.complete("Hi")).worker == first.name


async def idle(world: World) -> None:
    """Kept connections are given back before a call fails for want of a descriptor."""
    first = world.server(then_chat=play(0.1, said()))
    second = world.server()
    async with world.gateway() as cortex:
        async with trio.open_nursery() as nursery:
            for _ in range(IDLE):
                nursery.start_soon(cortex.complete, "Hi")
        held = use_up()
        with trio.fail_after(5):
            assert (await cortex.complete("Hi", worker=second.name)).text == TEXT
        assert first.requests
        for descriptor in held:
            os.close(descriptor)


async def main(what: str) -> None:
    load_prices()  # the time limits of this program are short, and the import takes 0.3 s
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    async with open_world("sockets") as world:
        await {"chat": chat, "check": check, "idle": idle}[what](world)
    print("well")


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
