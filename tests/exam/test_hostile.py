"""The exam, fourth part: answers that are no answers, and secrets in places where they do not belong."""

import gzip
import json
import logging
import traceback
import tracemalloc
from collections.abc import Iterator

import pytest
from exam_stage import DIALECTS, GOOD, RESCUE, Stage, virtual_stages

from cortex_trio import CortexError, FailureKind, ProviderError
from cortex_trio.simulator import Behaviour

# ------------------------------------------------------------------ S22: an error body that echoes the key

WITH_KEYS = [dialect for dialect in DIALECTS if dialect != "ollama"]
KEYS = {
    "of a known shape": "sk-proj-Zq83hfbQWm2pXkVvT9sLr4eY",
    "of no known shape": "Zq83hfbQWm2pXkVvT9sLr4eYc7Nd1uJg",
}


def echoes(key: str) -> dict[str, Behaviour]:
    said = f"Key {key} is not what we expected ({key})."
    as_json = json.dumps({"error": {"message": said, "type": "server_error", "code": key}})
    in_sse = f'data: {{"error": {{"message": "{said}", "code": "{key}"}}}}\n\n'
    in_lines = f'{{"error": "{said}"}}\n'
    return {
        "a JSON error": Behaviour(status=401, error_body=as_json),
        "a server error": Behaviour(status=500, error_body=as_json),
        "plain text": Behaviour(status=400, error_body=said, content_type="text/plain"),
        "an HTML page": Behaviour(status=502, error_body=f"<html>{said}</html>", content_type="text/html"),
        "an SSE event": Behaviour(body=in_sse.encode(), content_type="text/event-stream"),
        "an NDJSON line": Behaviour(body=in_lines.encode(), content_type="application/x-ndjson"),
        "a whole JSON body": Behaviour(body=as_json.encode()),
        "something malformed": Behaviour(
            body=f'data: {{"{key}\n\n{{"{key}\n'.encode(), content_type="text/event-stream"
        ),
        "a request id": Behaviour(status=429, error_body="{}", headers={"x-request-id": key}),
    }


def exposed(error: BaseException) -> Iterator[str]:
    """All that a log, a debugger or an error reporter would show of an exception, locals of our frames included."""
    yield from (str(error), repr(error), "".join(traceback.format_exception(error)))
    yield from (repr(getattr(error, "attempts", "")), repr(getattr(error, "failure", "")))
    reached = [error]
    for known in reached:
        reached += [e for e in (known.__cause__, known.__context__, *getattr(known, "exceptions", ())) if e]
        for frame, _ in traceback.walk_tb(known.__traceback__):
            if frame.f_code.co_filename != __file__:
                yield repr(frame.f_locals)


@pytest.mark.parametrize("shape", KEYS)
@pytest.mark.parametrize("how", echoes(""))
@pytest.mark.parametrize("virtual", virtual_stages(*WITH_KEYS), indirect=True)
async def test_s22_an_echoed_key_appears_nowhere(
    virtual: Stage, how: str, shape: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = KEYS[shape]
    caplog.set_level(logging.DEBUG)
    virtual.primary(echoes(key)[how], api_keys=[key])
    events: list[object] = []
    async with virtual.gateway(on_event=events.append) as cortex:
        with pytest.raises(CortexError) as failed:
            await cortex.complete("Hi")
        ours = [record for record in caplog.records if record.name.startswith("cortex_trio")]
        seen = [*exposed(failed.value), repr(events), repr([record.getMessage() for record in ours])]
        seen += [repr(await cortex.health_status()), cortex.tree(), cortex.explain("Hi"), repr(cortex)]
    assert events
    for text in seen:
        assert key not in text


# ------------------------------------------------------------------ S28: too much, or something else

MEGABYTE = 1024 * 1024


def stream_type(dialect: str) -> str:
    return "application/x-ndjson" if dialect == "ollama" else "text/event-stream"


def monsters(dialect: str) -> dict[str, Behaviour]:
    start = b"" if dialect == "ollama" else b"data: "
    bomb = gzip.compress(b"x" * (20 * MEGABYTE))
    return {
        "a line of 10 MB": Behaviour(
            body=start + b'{"x": "' + b"y" * (10 * MEGABYTE), content_type=stream_type(dialect)
        ),
        "a line of 10 MB in small pieces": Behaviour(
            body=start + b"z" * (10 * MEGABYTE), content_type=stream_type(dialect), slice_bytes=65536
        ),
        "a JSON body of 20 MB": Behaviour(body=b'{"x": "' + b"y" * (20 * MEGABYTE)),
        "endless headers": Behaviour(endless_headers=True),
        "HTML under 200": Behaviour(html=True),
        "HTML that says it is a stream": Behaviour(
            body=b"<!DOCTYPE html><html><body>Log in</body></html>\n\n", content_type=stream_type(dialect)
        ),
        "a gzip bomb": Behaviour(
            body=bomb, content_type=stream_type(dialect), headers={"content-encoding": "gzip"}
        ),
        "nothing at all": Behaviour(body=b"", content_type=stream_type(dialect)),
        "empty lines for ever": Behaviour(
            body=b"\n" * (4 * MEGABYTE), content_type=stream_type(dialect), slice_bytes=65536
        ),
        "a page of zeros": Behaviour(body=bytes(MEGABYTE), content_type=stream_type(dialect)),
    }


@pytest.mark.parametrize("monster", monsters(""))
async def test_s28_whatever_comes_instead_of_an_answer_is_one_typed_error(stage: Stage, monster: str) -> None:
    primary = stage.primary(monsters(stage.dialect)[monster])
    async with stage.gateway() as cortex:
        with pytest.raises(CortexError) as failed:
            await cortex.complete("Hi")
        errors = getattr(failed.value, "exceptions", [failed.value])
        assert all(type(error) is ProviderError for error in errors)
        assert {error.failure.kind for error in errors} <= {
            FailureKind.PROTOCOL,
            FailureKind.TRUNCATED,
            FailureKind.EMPTY,
        }
        assert all(len(error.failure.message) <= 200 for error in errors)
        assert len(primary.requests) <= 2
        primary.behave(GOOD)
        assert (await cortex.complete("Hi")).text == GOOD.text


async def test_s28_the_fallback_serves_whatever_the_primary_sends(virtual: Stage) -> None:
    for number, behaviour in enumerate(monsters(virtual.dialect).values()):
        virtual.add(f"monster-{number}", behaviour)
    virtual.fallback()
    async with virtual.gateway() as cortex:
        reply = await cortex.complete("Hi", max_attempts=32)
    assert (reply.worker, reply.text) == ("fallback", RESCUE.text)


@pytest.mark.parametrize(
    "virtual", virtual_stages("openai", "gemini", "ollama"), indirect=True
)  # each framing
@pytest.mark.parametrize(
    "monster", ["a line of 10 MB in small pieces", "a gzip bomb", "a JSON body of 20 MB"]
)
async def test_s28_memory_stays_bounded(virtual: Stage, monster: str) -> None:
    virtual.primary(monsters(virtual.dialect)[monster])
    async with virtual.gateway() as cortex:
        tracemalloc.start()
        try:
            with pytest.raises(CortexError):
                await cortex.complete("Hi")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 50 * MEGABYTE
