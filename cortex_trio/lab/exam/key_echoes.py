"""A provider repeats the API key in its responses: S22."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

from ...failures import CortexError
from ...simulator.behaviour import Behaviour
from .scenario import scenario
from .setup import Setup, check, failing

S22 = scenario(
    "S22", "an error body echoes the API key", "it appears in no log, exception, repr, traceback or event"
)

KEYS = {
    "of a known shape": "sk-proj-Zq83hfbQWm2pXkVvT9sLr4eY",
    "of no known shape": "Zq83hfbQWm2pXkVvT9sLr4eYc7Nd1uJg",
}


def _echoes(key: str) -> Mapping[str, Behaviour]:
    message = f"Key {key} is not what we expected ({key})."
    as_json = json.dumps({"error": {"message": message, "type": "server_error", "code": key}})
    in_sse = f'data: {{"error": {{"message": "{message}", "code": "{key}"}}}}\n\n'
    in_lines = f'{{"error": "{message}"}}\n'
    return {
        "a JSON error": Behaviour(status=401, error_body=as_json),
        "a server error": Behaviour(status=500, error_body=as_json),
        "plain text": Behaviour(status=400, error_body=message, content_type="text/plain"),
        "an HTML page": Behaviour(status=502, error_body=f"<html>{message}</html>", content_type="text/html"),
        "an SSE event": Behaviour(body=in_sse.encode(), content_type="text/event-stream"),
        "an NDJSON line": Behaviour(body=in_lines.encode(), content_type="application/x-ndjson"),
        "a whole JSON body": Behaviour(body=as_json.encode()),
        "something malformed": Behaviour(
            body=f'data: {{"{key}\n\n{{"{key}\n'.encode(), content_type="text/event-stream"
        ),
        "a request id": Behaviour(status=429, error_body="{}", headers={"x-request-id": key}),
    }


ECHOES = {f"{how}, {shape}": (key, echo) for shape, key in KEYS.items() for how, echo in _echoes(key).items()}


@S22.parts_for(ECHOES, "an echoed key appears nowhere", about_keys=True, virtual=True)
async def echoed_key(setup: Setup, echo: tuple[str, Behaviour]) -> None:
    key, behaviour = echo
    setup.primary(behaviour, api_keys=[key])
    events: list[object] = []
    with _listening() as heard:
        async with setup.gateway(on_event=events.append) as cortex:
            error = await failing(CortexError, lambda: cortex.complete("Hi"))
            seen = [*_exposed(error), repr(events), repr(heard)]
            seen += [repr(await cortex.health_status()), cortex.tree(), cortex.explain("Hi"), repr(cortex)]
    check(events, "there were events")
    check(not any(key in text for text in (*seen, repr(heard))), "the key is in no text")


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect all log messages, of every level."""
    logger, listening = logging.getLogger("cortex_trio"), _Listening()
    level = logger.level
    logger.addHandler(listening)
    logger.setLevel(logging.DEBUG)
    try:
        yield listening.heard
    finally:
        logger.setLevel(level)
        logger.removeHandler(listening)


@final
class _Listening(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


def _exposed(error: BaseException) -> Iterator[str]:
    """All that a log, a debugger or an error reporter can show, with the locals of the gateway's frames."""
    yield from (str(error), repr(error), "".join(traceback.format_exception(error)))
    yield from (repr(getattr(error, "attempts", "")), repr(getattr(error, "failure", "")))
    reached = [error]
    for known in reached:
        reached += [e for e in (known.__cause__, known.__context__, *getattr(known, "exceptions", ())) if e]
        for frame, _ in traceback.walk_tb(known.__traceback__):
            if frame.f_code.co_filename != __file__:
                yield repr(frame.f_locals)
