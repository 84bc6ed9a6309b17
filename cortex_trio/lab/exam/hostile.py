"""Answers that are no answers: S28."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable, Mapping

from ...errors import AllWorkersFailed, ProviderError
from ...failures import CortexError, FailureKind
from ...simulator.behaviour import Behaviour
from .scenario import scenario
from .stage import GOOD, RESCUE, Stage, check, equal, failing

MEGABYTE = 1024 * 1024
MOST_MEMORY = 50 * MEGABYTE
WRONG = {FailureKind.PROTOCOL, FailureKind.TRUNCATED, FailureKind.EMPTY}

S28 = scenario("S28", "10 MB line, endless headers, HTML under 200, gzip bomb", "typed error, memory bounded")

Monster = Callable[[str, bytes], Behaviour]
"""From the content type of a stream in the dialect, and what begins a line of it."""

MONSTERS: Mapping[str, Monster] = {
    "a line of 10 MB": lambda framed, start: Behaviour(
        body=start + b'{"x": "' + b"y" * (10 * MEGABYTE), content_type=framed
    ),
    "a line of 10 MB in small pieces": lambda framed, start: Behaviour(
        body=start + b"z" * (10 * MEGABYTE), content_type=framed, slice_bytes=65536
    ),
    "a JSON body of 20 MB": lambda framed, start: Behaviour(body=b'{"x": "' + b"y" * (20 * MEGABYTE)),
    "endless headers": lambda framed, start: Behaviour(endless_headers=True),
    "HTML under 200": lambda framed, start: Behaviour(html=True),
    "HTML that says it is a stream": lambda framed, start: Behaviour(
        body=b"<!DOCTYPE html><html><body>Log in</body></html>\n\n", content_type=framed
    ),
    "a gzip bomb": lambda framed, start: Behaviour(
        body=gzip.compress(b"x" * (20 * MEGABYTE)),
        content_type=framed,
        headers={"content-encoding": "gzip"},
    ),
    "nothing at all": lambda framed, start: Behaviour(body=b"", content_type=framed),
    "empty lines for ever": lambda framed, start: Behaviour(
        body=b"\n" * (4 * MEGABYTE), content_type=framed, slice_bytes=65536
    ),
    "a page of zeros": lambda framed, start: Behaviour(body=bytes(MEGABYTE), content_type=framed),
}
LARGE = ("a line of 10 MB in small pieces", "a gzip bomb", "a JSON body of 20 MB")


def _of(stage: Stage, monster: Monster) -> Behaviour:
    if stage.dialect == "ollama":
        return monster("application/x-ndjson", b"")
    return monster("text/event-stream", b"data: ")


@S28.parts_for(MONSTERS, "whatever comes instead of an answer is one typed error")
async def one_typed_error(stage: Stage, monster: Monster) -> None:
    primary = stage.primary(_of(stage, monster))
    async with stage.gateway() as cortex:
        failed = await failing(CortexError, lambda: cortex.complete("Hi"))
        errors = failed.exceptions if isinstance(failed, AllWorkersFailed) else (failed,)
        for error in errors:
            if type(error) is not ProviderError:
                check(False, f"a typed error, and not {error!r:.100}")
            else:
                check(error.failure.kind in WRONG, f"it is called what it is, not {error.failure.kind.value}")
                check(len(error.failure.message) <= 200, "what it said is not repeated at length")
        check(len(primary.requests) <= 4, "it is asked no more often than max_attempts")
        primary.behave(GOOD)
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer after it")


@S28.part("the fallback serves, whatever comes before it", virtual=True)
async def all_of_them(stage: Stage) -> None:
    for number, monster in enumerate(MONSTERS.values()):
        stage.add(f"monster-{number}", _of(stage, monster))
    stage.fallback()
    async with stage.gateway() as cortex:
        reply = await cortex.complete("Hi", max_attempts=32)
    equal((reply.worker, reply.text), ("fallback", RESCUE.text), "the answer")


@S28.parts_for(
    {name: MONSTERS[name] for name in LARGE},
    "memory stays bounded",
    virtual=True,
    only=("openai", "openai_responses", "gemini", "ollama"),  # each framing
)
async def bounded_memory(stage: Stage, monster: Monster) -> None:
    stage.primary(_of(stage, monster))
    async with stage.gateway() as cortex:
        tracemalloc.start()
        try:
            await failing(CortexError, lambda: cortex.complete("Hi"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    check(peak < MOST_MEMORY, f"memory stays bounded ({peak:,} bytes)")
