"""Error bodies of real servers, read whole and cut at every byte.

They come from recorded traffic and public reports (wire/corpus and wire/cases of the shared folder).
"""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from cortex_trio.failures import FailureKind, classify

K = FailureKind

OF_THE_REQUEST = {K.BAD_REQUEST, K.CONTEXT_LENGTH, K.CONTENT_POLICY}
"""Kinds after which no key, model or worker has a cooldown."""

COOLDOWN = {K.CREDENTIAL, K.PERMISSION, K.QUOTA, K.RATE_LIMIT, K.MODEL_NOT_FOUND, K.REGION}
"""Kinds after which a key, a model or a worker is not asked for minutes."""


@attrs.frozen
class Body:
    """One error answer. `expected` are the kinds that are right, by name."""

    name: str
    status: int
    content: bytes
    expected: tuple[str, ...]


Read = Callable[[Path], list[Body]]

DECIDED: dict[int, str] = {
    # The model's own tool call or JSON was wrong, not the request: another worker may do better.
    2: "protocol",
    28: "protocol",
    67: "protocol",
    # The HTTP status is a 400, the body a 429 of one minute's quota.
    71: "rate_limit",
    # llama.cpp could not fetch an image for us: nothing in the body says whose fault that is.
    4: "server",
    # llama.cpp answers 500 to requests that can never succeed there.
    18: "bad_request",
    20: "bad_request",
    52: "bad_request",
    # A key without the right to this model, and a route the key may not use.
    16: "permission",
    19: "permission",
    41: "rate_limit",
    47: "rate_limit",
    74: "rate_limit",
    37: "context_length",
    55: "context_length",
    66: "credential",
    9: "model_not_found",
    26: "model_not_found",
    32: "model_not_found",
    33: "model_not_found",
    34: "model_not_found",
    35: "model_not_found",
    38: "model_not_found",
    46: "model_not_found",
    49: "model_not_found",
    50: "model_not_found",
    53: "model_not_found",
    54: "model_not_found",
    57: "model_not_found",
    60: "model_not_found",
    75: "model_not_found",
    76: "model_not_found",
}
"""Line of errors.jsonl.gz → kind. Every other line is what its status says: 401 credential, 400 and 422 bad_request."""

CASES = {
    "06_llamacpp_context_400.json": (400, "context_length"),
    "07_perplexity_context_400.json": (400, "context_length"),
    "08_mistral_unknown_model_400.json": (400, "model_not_found"),
    "11_openrouter_policy_in_raw_403.json": (403, "content_policy"),
    "12_openai_tools_unsupported_404.json": (404, "bad_request"),
}


def reported(shared_dir: Path) -> list[Body]:
    lines = (shared_dir / "wire/corpus/error_kinds.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [Body(row["source"], row["status"], row["body"].encode(), tuple(row["expected"])) for row in rows]


def recorded(shared_dir: Path) -> list[Body]:
    with gzip.open(shared_dir / "wire/corpus/errors.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    by_status = {400: "bad_request", 422: "bad_request", 401: "credential"}
    return [
        Body(
            f"{number} {row['product']}",
            row["status"],
            base64.b64decode(row["body"]),
            (DECIDED.get(number) or by_status.get(row["status"], "a line without a decision"),),
        )
        for number, row in enumerate(rows)
    ]


def cases(shared_dir: Path) -> list[Body]:
    folder = shared_dir / "wire/cases"
    return [
        Body(name, status, (folder / name).read_bytes(), (kind,)) for name, (status, kind) in CASES.items()
    ]


@pytest.mark.parametrize("read", [reported, recorded, cases])
def test_every_error_body_of_a_real_server_is_of_the_right_kind(shared_dir: Path, read: Read) -> None:
    bodies = read(shared_dir)
    assert bodies
    wrong = [
        f"{body.name}: {kind} instead of {' or '.join(body.expected)}"
        for body in bodies
        if (kind := classify(body.status, {}, body.content).kind.value) not in body.expected
    ]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("read", [reported, recorded, cases])
def test_an_error_body_cut_at_any_byte_gives_no_cooldown_that_the_complete_one_would_not(
    shared_dir: Path, read: Read
) -> None:
    """What is missing may make a verdict vaguer (what the status alone says), never a different accusation."""
    bodies = read(shared_dir)
    wrong: set[str] = set()
    for body in bodies:
        whole = classify(body.status, {}, body.content).kind
        bare = classify(body.status, {}, b"").kind
        # Google writes the same sentence for a day and a minute; which of them stands at the end of the body.
        same = {K.QUOTA, K.RATE_LIMIT} if whole is K.RATE_LIMIT else {whole}
        for cut in range(len(body.content)):
            kind = classify(body.status, {}, body.content[:cut]).kind
            if kind in COOLDOWN and kind not in {bare, *same}:
                wrong.add(f"{body.name}: {kind.value} for a {whole.value}")
            if whole in OF_THE_REQUEST and kind not in OF_THE_REQUEST | {bare, K.UNKNOWN}:
                wrong.add(f"{body.name}: {kind.value} for a {whole.value}")
    assert wrong == set()


@pytest.mark.parametrize("read", [reported, recorded, cases])
def test_an_error_body_that_lost_only_its_end_is_still_understood(shared_dir: Path, read: Read) -> None:
    bodies = read(shared_dir)
    wrong = [
        f"{body.name}: {kind}"
        for body in bodies
        if (kind := classify(body.status, {}, body.content.rstrip()[:-1]).kind.value) not in body.expected
    ]
    assert wrong == []
