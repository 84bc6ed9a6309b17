"""Never worse than the bare SDK: before the same faults of one server, what OpenAI's client survives we survive.

Both ask raw servers over loopback sockets, all cases at the same time, for the SDK's pauses are real. Run this file
with `python` for a table of both.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from raw_bytes import (
    HTML,
    MODEL,
    PAGE,
    TEXT,
    chunk,
    completion,
    delta,
    embedding_list,
    error,
    head,
    http,
    open_head,
    said,
    sse,
)
from raw_server import KEY, Do, Play, RawServer, Step, World, open_world, play
from sdk_stage import sdk

from cortex_trio import Cortex, CortexError

openai = sdk("openai")

BOOM = error("boom")
JOBS = ("whole", "stream", "embed")
TOGETHER_SECONDS = 40.0


@attrs.frozen
class Fault:
    """What the server does before it is well: plays for requests, steps for connections, seconds of refusing."""

    plays: tuple[Play, ...] = ()
    on_connect: tuple[Step, ...] = ()
    refuses: float = 0.0
    warm: bool = False  # after one call that went well, so that there is a kept connection


def _faults() -> Iterator[tuple[str, Fault]]:
    once: dict[str, Play] = {
        **{str(status): play(http(status, BOOM)) for status in (408, 409, 500, 502, 503, 504, 529)},
        "429 with 200 ms": play(http(429, BOOM, {"retry-after-ms": "200"})),
        "429 with a second": play(http(429, BOOM, {"retry-after": "1"})),
        "503 as a page": play(http(503, PAGE, kind=HTML)),
        "503 as a page with a hint": play(http(503, PAGE, {"retry-after": "1"}, kind=HTML)),
        "400 that should be repeated": play(http(400, BOOM, {"x-should-retry": "true"})),
        "500 that should not be repeated": play(http(500, BOOM, {"x-should-retry": "false"})),
        "400": play(http(400, BOOM)),
        "closed before a byte": play(Do.CLOSE),
        "reset before a byte": play(Do.RESET),
        "closed within the head": play(b"HTTP/1.1 200 OK\r\ncon", Do.CLOSE),
        "closed after the headers": play(open_head(), Do.CLOSE),
        "reset after the headers": play(open_head(), Do.RESET),
        "cut within the body": play(
            head(200, {"content-type": "application/json", "content-length": "900"}), b'{"', Do.CLOSE
        ),
        "cut before the first content": play(open_head(), chunk(sse(delta(""))), Do.CLOSE),
        "not HTTP": play(b"\0\1\2\3 what?\r\n\r\n", Do.CLOSE),
    }
    for name, fault in once.items():
        yield f"{name}, once", Fault((fault,))
        yield f"{name}, twice", Fault((fault, fault))
    yield "one after another", Fault((once["500"], once["reset before a byte"]))
    yield "refused for 0.3 s", Fault(refuses=0.3)
    for step in (Do.CLOSE, Do.RESET):
        yield f"{step.value} when accepted, once", Fault(on_connect=(step,))
        yield f"{step.value} when accepted, twice", Fault(on_connect=(step, step))
        yield f"{step.value} of a kept connection at once", Fault((play(step),), warm=True)
        yield f"{step.value} of a kept connection at work", Fault((play(0.3, step),), warm=True)
        yield f"{step.value} of two connections at work", Fault((play(0.3, step),) * 2, warm=True)


FAULTS = dict(_faults())
Outcomes = dict[
    tuple[str, str], dict[str, str]
]  # (fault, job) -> {"sdk" or "ours": "served", or what was raised}


def _server(world: World, fault: Fault, job: str, who: str) -> RawServer:
    whole = who == "sdk" and job == "whole"
    good = play(http(200, completion())) if whole else play(said())
    vectors = play(http(200, embedding_list(1, 3)))
    plays = [vectors if job == "embed" else good] * fault.warm + list(fault.plays)
    return world.server(
        chat=plays, embeds=plays, on_connect=fault.on_connect, then_chat=good, then_embeds=vectors
    )


def _ask_sdk(client: Any, job: str) -> bool:
    ask = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}]}
    match job:
        case "whole":
            return bool(client.chat.completions.create(**ask).choices[0].message.content == TEXT)
        case "stream":
            chunks = client.chat.completions.create(**ask, stream=True)
            return "".join(c.delta.content or "" for one in chunks for c in one.choices) == TEXT
    return len(client.embeddings.create(model=MODEL, input=["Hi"]).data) == 1


async def _ask_ours(cortex: Cortex, job: str) -> bool:
    match job:
        case "whole":
            return (await cortex.complete("Hi")).text == TEXT
        case "stream":
            async with cortex.chat("Hi") as stream:
                return (await stream.collect()).text == TEXT
    return len(await cortex.embed(["Hi"], model=MODEL)) == 1


async def _play(world: World, name: str, job: str, outcomes: Outcomes, threads: trio.CapacityLimiter) -> None:
    fault, found = FAULTS[name], outcomes.setdefault((name, job), {})

    async def sdk() -> None:
        server = _server(world, fault, job, "sdk")

        def run() -> None:
            with openai.OpenAI(api_key=KEY, base_url=server.url) as client:
                if fault.warm:
                    _ask_sdk(client, job)
                found["sdk"] = "served" if _ask_sdk(client, job) else "wrong"

        if fault.refuses:
            server.refuse(fault.refuses)
        try:
            await trio.to_thread.run_sync(run, limiter=threads)
        except Exception as problem:
            found["sdk"] = type(problem).__name__

    async def ours() -> None:
        server = _server(world, fault, job, "ours")
        async with world.gateway(server) as cortex:
            if fault.warm:
                await _ask_ours(cortex, job)
            if fault.refuses:
                server.refuse(fault.refuses)
            try:
                found["ours"] = "served" if await _ask_ours(cortex, job) else "wrong"
            except CortexError as problem:
                found["ours"] = str(problem)

    with trio.move_on_after(TOGETHER_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sdk)
            nursery.start_soon(ours)
    found.setdefault("sdk", "too late")
    found.setdefault("ours", "too late")


async def play_all() -> Outcomes:
    """Play every fault to both, in every job."""
    outcomes: Outcomes = {}
    threads = trio.CapacityLimiter(32)
    async with open_world("sockets") as world, trio.open_nursery() as nursery:
        for name in FAULTS:
            for job in JOBS:
                nursery.start_soon(_play, world, name, job, outcomes, threads)
    return outcomes


@pytest.fixture(scope="module")
def outcomes() -> Outcomes:
    return trio.run(play_all)


@pytest.mark.slow
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("name", FAULTS)
def test_what_the_sdk_survives_we_survive(outcomes: Outcomes, name: str, job: str) -> None:
    found = outcomes[name, job]
    assert "too late" not in found["sdk"], "the judge itself was not heard"
    if found["sdk"] == "served":
        assert found["ours"] == "served"
    assert found["ours"] != "wrong"


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        for (fault_name, job_name), both in sorted(trio.run(play_all).items()):
            print(f"{fault_name:45} {job_name:7} sdk: {both['sdk']:25.25} ours: {both['ours']:.90}")
