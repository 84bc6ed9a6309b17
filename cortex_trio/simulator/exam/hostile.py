"""Answers that are no answers, and secrets in places where they do not belong."""

from __future__ import annotations

import gzip
import json
import logging
import traceback
from collections.abc import Iterator, Mapping
from typing import final

from ...failures import AllWorkersFailed, CortexError, FailureKind, ProviderError
from ..behaviour import Behaviour
from .scenario import scenario
from .stage import GOOD, RESCUE, Stage, check, equal, failing

SECRET = "sk-proj-Zq83hfbQWm2pXkVvT9sLr4eY"
MEGABYTE = 1024 * 1024


def _echoes() -> Mapping[str, Behaviour]:
    said = f"Key {SECRET} is not what we expected."
    as_json = json.dumps({"error": {"message": said, "type": "server_error", "code": SECRET}})
    in_sse = f'data: {{"error": {{"message": "{said}", "code": "{SECRET}"}}}}\n\n'
    return {
        "a 401": Behaviour(status=401, error_body=as_json),
        "a 500": Behaviour(status=500, error_body=as_json),
        "plain text": Behaviour(status=400, error_body=said, content_type="text/plain"),
        "an event of the stream": Behaviour(body=in_sse.encode(), content_type="text/event-stream"),
    }


@final
class _Listening(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@scenario(
    "S22",
    "an error body echoes the API key",
    "it appears in no log, exception, repr, traceback or event",
    about_keys=True,
)
async def echoed_key(stage: Stage) -> None:
    listening, logger = _Listening(), logging.getLogger("cortex_trio")
    logger.addHandler(listening)
    try:
        for name, echo in _echoes().items():
            there = Stage(stage.sim, stage.dialect)
            there.add(name, echo, api_keys=[SECRET])
            events: list[object] = []
            async with there.gateway(on_event=events.append) as cortex:
                error = await failing(CortexError, lambda: cortex.complete("Hi"))
                seen = [*_shown(error), repr(events), repr(await cortex.health_status()), *listening.heard]
            check(not any(SECRET in text for text in seen), f"{name} that echoes the key does not show it")
    finally:
        logger.removeHandler(listening)


def _shown(error: BaseException) -> Iterator[str]:
    """All that a log or an error reporter would show, the locals of our frames included."""
    yield from (str(error), repr(error), "".join(traceback.format_exception(error)))
    yield repr(getattr(error, "attempts", ""))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename != __file__:
            yield repr(frame.f_locals)


def _monsters(dialect: str) -> Mapping[str, Behaviour]:
    framed = "application/x-ndjson" if dialect == "ollama" else "text/event-stream"
    start = b"" if dialect == "ollama" else b"data: "
    return {
        "a line of 10 MB": Behaviour(
            body=start + b"y" * (10 * MEGABYTE), content_type=framed, slice_bytes=65536
        ),
        "endless headers": Behaviour(endless_headers=True),
        "HTML under 200": Behaviour(html=True),
        "a gzip bomb": Behaviour(
            body=gzip.compress(b"x" * (20 * MEGABYTE)),
            content_type=framed,
            headers={"content-encoding": "gzip"},
        ),
        "nothing at all": Behaviour(body=b"", content_type=framed),
        "a page of zeros": Behaviour(body=bytes(MEGABYTE), content_type=framed),
    }


@scenario("S28", "10 MB line, endless headers, HTML under 200, gzip bomb", "typed error, memory bounded")
async def monsters(stage: Stage) -> None:
    for name, monster in _monsters(stage.dialect).items():
        there = Stage(stage.sim, stage.dialect)
        provider = there.add(name, monster)
        async with there.gateway() as cortex:
            error = await failing(CortexError, lambda: cortex.complete("Hi"))
            errors = error.exceptions if isinstance(error, AllWorkersFailed) else (error,)
            for one in errors:
                check(isinstance(one, ProviderError), f"{name} is a typed error")
                wrong = {FailureKind.PROTOCOL, FailureKind.TRUNCATED, FailureKind.EMPTY}
                check(isinstance(one, ProviderError) and one.failure.kind in wrong, f"{name} is what it is")
            provider.behave(GOOD)
            equal((await cortex.complete("Hi")).text, GOOD.text, f"the answer after {name}")
    there = Stage(stage.sim, stage.dialect)
    for number, monster in enumerate(_monsters(stage.dialect).values()):
        there.add(f"monster {number}", monster)
    there.add("rescue", RESCUE)
    async with there.gateway() as cortex:
        reply = await cortex.complete("Hi", max_attempts=32)
        equal((reply.worker, reply.text), ("rescue", RESCUE.text), "the answer behind all of them")
