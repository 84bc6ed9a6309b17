"""Writes the table of docs/failures.md from the one the gateway acts on, so that the two cannot differ.

python docs/tools/failures_table.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cortex_trio.failures import (
    REACTIONS,
    FailureKind,
    NextKey,
    NextWorker,
    Rest,
    SameWorker,
)

PAGE = Path(__file__).resolve().parents[1] / "failures.md"
BEGIN, END = "<!-- table: written by docs/tools/failures_table.py -->", "<!-- end of table -->"

SIGNALS: Mapping[FailureKind, str] = {
    FailureKind.CONTEXT_LENGTH: "400, the prompt is longer than the model's window",
    FailureKind.CONTENT_POLICY: "400 or 403 by a policy; a prompt blocked inside a 200",
    FailureKind.BAD_REQUEST: "any other 400, 409, 413, 415 or 422",
    FailureKind.CREDENTIAL: "401, or a 400 whose body says the key is wrong",
    FailureKind.PERMISSION: "403, or a key that may not use this model",
    FailureKind.QUOTA: "402, no credit left, spending limit reached",
    FailureKind.RATE_LIMIT: "429 with a time to come back, requests or tokens a minute",
    FailureKind.OVERLOADED: "529, 503 that says overloaded, the same inside a 200 stream",
    FailureKind.SERVER: "500, 502, 503, 504",
    FailureKind.CONNECTION: "refused, reset, no name, no TLS, cut in the middle of a chunk",
    FailureKind.STALLED: "no first token in time, or silence in the middle",
    FailureKind.PROTOCOL: "garbled bytes, a web page under 200, more than is sane",
    FailureKind.TRUNCATED: "the stream ends in good order without its end marker",
    FailureKind.EMPTY: "a complete answer with nothing in it",
    FailureKind.MODEL_NOT_FOUND: "404 for the model, or it was retired",
    FailureKind.REGION: "403, this country is not served",
    FailureKind.EDGE: "403 or 5xx with a web page: a proxy before the provider",
    FailureKind.CRASHED: "an actor died under the request, or a dialect has a bug",
    FailureKind.CANCELLED: "the caller left, or its deadline passed",
    FailureKind.UNKNOWN: "anything else",
}
SAME_WORKER: Mapping[SameWorker, str] = {
    SameWorker.NEVER: "no",
    SameWorker.ONCE: "once",
    SameWorker.AFTER_BACKOFF: "after a pause, when all were asked",
    SameWorker.AFTER_HINT: "when it said, if nobody else can serve",
}
NEXT_KEY: Mapping[NextKey, str] = {NextKey.NO: "no", NextKey.ONCE: "once", NextKey.YES: "yes, first"}
NEXT_WORKER: Mapping[NextWorker, str] = {
    NextWorker.NO: "no: the error is the answer",
    NextWorker.LARGER: "only one with a larger window",
    NextWorker.YES: "yes",
}
RESTS: Mapping[Rest, str] = {
    Rest.NOTHING: "nobody",
    Rest.KEY: "the key, until a free check accepts it",
    Rest.KEY_QUOTA: "the key, 15 min, doubling to 1 h",
    Rest.KEY_MODEL: "the key for this model, as long as told",
    Rest.KEY_MODEL_FOR_GOOD: "the key for this model",
    Rest.BREAKER: "counts against the worker",
    Rest.BREAKER_HALF: "counts half against the worker",
    Rest.MODEL: "the model at this worker",
    Rest.PROVIDER: "the worker",
}
HEADS = ("kind", "typical signal", "same worker again?", "another key?", "next worker?", "who rests")


def table() -> str:
    """The table of reactions in Markdown."""
    rows = [
        (
            f"`{kind.value}`",
            SIGNALS[kind],
            SAME_WORKER[reaction.same_worker],
            NEXT_KEY[reaction.next_key],
            NEXT_WORKER[reaction.next_worker],
            RESTS[reaction.rest],
        )
        for kind, reaction in REACTIONS.items()
    ]
    lines = [HEADS, tuple("---" for _ in HEADS), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def made() -> dict[Path, str]:
    """The page with its table as it must be."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return {PAGE: f"{before}{BEGIN}\n{table()}\n{END}{after}"}


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
