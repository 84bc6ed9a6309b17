"""Bodies that are no response: S28."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable, Mapping

from ...errors import AllWorkersFailed, ProviderError
from ...failures import CortexError, FailureKind
from ...simulator.behaviour import Behaviour
from .scenario import scenario
from .setup import GOOD, RESCUE, Setup, check, equal, failing

MEGABYTE = 1024 * 1024
MOST_MEMORY = 50 * MEGABYTE
WRONG = {FailureKind.PROTOCOL, FailureKind.TRUNCATED, FailureKind.EMPTY}

S28 = scenario("S28", "10 MB line, endless headers, HTML under 200, gzip bomb", "typed error, memory bounded")

Malformed = Callable[[str, bytes], Behaviour]
"""From the content type of a stream in the dialect, and the beginning of a line of it, to the behaviour."""

MALFORMED: Mapping[str, Malformed] = {
    "a line of 10 MB": lambda framed, start: Behaviour(
        body=start + b'{"x": "' + b"y" * (10 * MEGABYTE), content_type=framed
    ),
    "a line of 10 MB in small pieces": lambda framed, start: Behaviour(
        body=start + b"z" * (10 * MEGABYTE), content_type=framed, slice_bytes=65536
    ),
    "a JSON body of 20 MB": lambda framed, start: Behaviour(body=b'{"x": "' + b"y" * (20 * MEGABYTE)),
    "endless headers": lambda framed, start: Behaviour(endless_headers=True),
    "HTML under 200": lambda framed, start: Behaviour(html=True),
    "HTML with the content type of a stream": lambda framed, start: Behaviour(
        body=b"<!DOCTYPE html><html><body>Log in</body></html>\n\n", content_type=framed
    ),
    "a gzip bomb": lambda framed, start: Behaviour(
        body=gzip.compress(b"x" * (20 * MEGABYTE)),
        content_type=framed,
        headers={"content-encoding": "gzip"},
    ),
    "nothing at all": lambda framed, start: Behaviour(body=b"", content_type=framed),
    "a megabyte of empty lines": lambda framed, start: Behaviour(
        body=b"\n" * MEGABYTE, content_type=framed, slice_bytes=65536
    ),
    "a page of zeros": lambda framed, start: Behaviour(body=bytes(MEGABYTE), content_type=framed),
}
LARGE = ("a line of 10 MB in small pieces", "a gzip bomb", "a JSON body of 20 MB")


def _of(setup: Setup, malformed: Malformed) -> Behaviour:
    if setup.dialect == "ollama":
        return malformed("application/x-ndjson", b"")
    return malformed("text/event-stream", b"data: ")


@S28.parts_for(MALFORMED, "every body that is no response is one typed error")
async def one_typed_error(setup: Setup, malformed: Malformed) -> None:
    primary = setup.primary(_of(setup, malformed))
    async with setup.gateway() as cortex:
        failed = await failing(CortexError, lambda: cortex.complete("Hi"))
        errors = failed.exceptions if isinstance(failed, AllWorkersFailed) else (failed,)
        for error in errors:
            if type(error) is not ProviderError:
                check(False, f"a typed error, and not {error!r:.100}")
            else:
                check(
                    error.failure.kind in WRONG,
                    f"the failure kind fits, and is not {error.failure.kind.value}",
                )
                check(len(error.failure.message) <= 200, "the message is short")
        check(len(primary.requests) <= 4, "it gets at most max_attempts requests")
        primary.behave(GOOD)
        equal((await cortex.complete("Hi")).text, GOOD.text, "the answer after it")


@S28.part("the fallback serves after all of them", virtual=True)
async def all_of_them(setup: Setup) -> None:
    for number, malformed in enumerate(MALFORMED.values()):
        setup.add(f"malformed-{number}", _of(setup, malformed))
    setup.fallback()
    async with setup.gateway() as cortex:
        reply = await cortex.complete("Hi", max_attempts=32)
    equal((reply.worker, reply.text), ("fallback", RESCUE.text), "the answer")


@S28.parts_for(
    {name: MALFORMED[name] for name in LARGE},
    "memory stays bounded",
    virtual=True,
    only=("openai", "openai_responses", "gemini", "ollama"),  # each framing
)
async def bounded_memory(setup: Setup, malformed: Malformed) -> None:
    setup.primary(_of(setup, malformed))
    async with setup.gateway() as cortex:
        tracemalloc.start()
        try:
            await failing(CortexError, lambda: cortex.complete("Hi"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    check(peak < MOST_MEMORY, f"memory stays bounded ({peak:,} bytes)")
