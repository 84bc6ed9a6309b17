"""Write the table of docs/failures.md from the table of reactions, so that the two cannot differ.

python docs/tools/failures_table.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cortex_trio.failures import REACTIONS, FailureKind, NextKey, NextWorker, Reaction, SameWorker, Scope

PAGE = Path(__file__).resolve().parents[1] / "failures.md"
BEGIN, END = "<!-- table: written by docs/tools/failures_table.py -->", "<!-- end of table -->"

SIGNALS: Mapping[FailureKind, str] = {
    FailureKind.CONTEXT_LENGTH: "400, the prompt is longer than the model's window",
    FailureKind.CONTENT_POLICY: "400 or 403 by a policy; a prompt blocked inside a 200",
    FailureKind.BAD_REQUEST: "any other 400, 413, 415 or 422",
    FailureKind.CREDENTIAL: "401, or a 400 whose body says the API key is wrong",
    FailureKind.PERMISSION: "403, or an API key that may not use this model",
    FailureKind.QUOTA: "402, no credit left, spending limit reached",
    FailureKind.RATE_LIMIT: "429, requests or tokens a minute; a quota with a short Retry-After",
    FailureKind.OVERLOADED: "529, 503 with an overloaded error, the same inside a 200 stream",
    FailureKind.SERVER: "500, 502, 503, 504",
    FailureKind.CONNECTION: "refused, reset, no such host, no TLS, cut in the middle of a chunk",
    FailureKind.STALLED: "no first token in time, or a pause that is too long in the middle",
    FailureKind.PROTOCOL: "malformed bytes, a web page under 200, an answer over its limit, a malformed tool call",
    FailureKind.TRUNCATED: "the stream ends without its end marker",
    FailureKind.EMPTY: "a complete answer with nothing in it",
    FailureKind.MODEL_NOT_FOUND: "404 or 410 that names the model",
    FailureKind.REGION: "403, this country is not served",
    FailureKind.EDGE: "403 or 5xx with a web page: a proxy in front of the provider",
    FailureKind.CRASHED: "an actor ended during the request, or a dialect has a bug",
    FailureKind.CANCELLED: "the caller left, or its deadline passed",
    FailureKind.UNKNOWN: "anything else: 404 without a model, 405, 407, 409, 421, 424, 425, 451 …",
}
SAME_WORKER: Mapping[SameWorker, str] = {
    SameWorker.NEVER: "no",
    SameWorker.ONCE: "once, after a short backoff",
    SameWorker.AFTER_OTHERS: "after a backoff, if no other worker is available",
    SameWorker.AFTER_COOLDOWN: "when its cooldown ends, if no other worker is available",
}
NEXT_KEY: Mapping[NextKey, str] = {NextKey.NO: "no", NextKey.ONCE: "once", NextKey.YES: "yes, first"}
NEXT_WORKER: Mapping[NextWorker, str] = {
    NextWorker.NO: "no: the call ends with this failure",
    NextWorker.LARGER: "only one with a larger window",
    NextWorker.YES: "yes",
}
SCOPES: Mapping[Scope, str] = {
    Scope.WORKER: "the worker",
    Scope.MODEL: "the model at this worker",
    Scope.KEY: "the API key",
    Scope.KEY_MODEL: "the API key for this model",
}
WEIGHTS: Mapping[float, str] = {
    1.0: "the worker's breaker counts 1",
    0.5: "the worker's breaker counts ½",
    0.0: "nothing",
}
HEADS = (
    "kind",
    "typical signal",
    "same worker again?",
    "another API key?",
    "next worker?",
    "what cools down, how long",
)


def cools_down(reaction: Reaction) -> str:
    """Return the last column: the scope and the length of a cooldown, or the weight in the breaker."""
    rule = reaction.cooldown
    if rule is None:
        return WEIGHTS[reaction.weight]
    if not any(rule.trial_seconds):
        seconds = "/".join(f"{n:.0f}" for n in rule.seconds)
        return f"{SCOPES[rule.scope]}, for the retry-after; without one {seconds} s, suspected"
    return f"{SCOPES[rule.scope]}, {rule.seconds[0] / 60:.0f} min, doubling to 1 h"


def table() -> str:
    """Return the table of reactions in Markdown."""
    rows = [
        (
            f"`{kind.value}`",
            SIGNALS[kind],
            SAME_WORKER[reaction.same_worker],
            NEXT_KEY[reaction.next_key],
            NEXT_WORKER[reaction.next_worker],
            cools_down(reaction),
        )
        for kind, reaction in REACTIONS.items()
    ]
    lines = [HEADS, tuple("---" for _ in HEADS), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def made() -> dict[Path, str]:
    """Return the page with the table as it must be."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return {PAGE: f"{before}{BEGIN}\n{table()}\n{END}{after}"}


if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text, encoding="utf-8")
