"""What must be true of every schedule, whatever happened in it. Each law raises AssertionError with what broke it."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from play import Called, Hint, Seen, Sent
from schedule import STORY, TOOL_CALL

from cortex_trio import Attempt, Continued, Finished, Restarted, StreamInterrupted, TextDelta, ToolCallDelta
from cortex_trio.failures import FailureKind, official_sdks_retry
from cortex_trio.gateway.routing.readiness import TRIES_PER_WORKER
from cortex_trio.gateway.workers.calls import RESTART_SECONDS

TOTAL_SECONDS = 600.0
GRACE_SECONDS = 0.1
"""The end of an answer is drained for 50 ms, so that its connection may be used again."""
SDK_SECONDS = 0.375
"""Before its first retry an official SDK waits 0.5 s, less a quarter of jitter (`_calculate_retry_timeout`)."""
TRIAL_SECONDS = 60.0
"""After a refusal that names a time, one request may try a minute later if no other worker can serve."""
ABOUT_THE_KEY = {
    FailureKind.CREDENTIAL,
    FailureKind.PERMISSION,
    FailureKind.QUOTA,
    FailureKind.RATE_LIMIT,
    FailureKind.MODEL_NOT_FOUND,
}
ABOUT_THE_REQUEST = {FailureKind.BAD_REQUEST, FailureKind.CONTEXT_LENGTH, FailureKind.CONTENT_POLICY}


def hold(seen: Seen) -> None:
    for called in seen.calls:
        ends_in_time_with_an_answer_or_a_typed_error(called)
        delivers_nothing_twice(called)
        sent = [sent for sent in seen.sent if sent.call == called.caller.number]
        asks_no_more_than_it_may(called, sent)
        asks_a_worker_a_third_time_only_as_the_sdks_would(called, sent, never_failed(seen))
    nobody_is_asked_before_the_time_it_named(seen)
    every_request_is_one_record(seen.attempts, [sent for sent in seen.sent if sent.call is not None])
    everybody_runs(seen)


# ------------------------------------------------------------------ one call


def ends_in_time_with_an_answer_or_a_typed_error(called: Called) -> None:
    assert called.outcome in ("whole", "error", "left", "cancelled"), called
    deadline = TOTAL_SECONDS if called.caller.deadline is None else called.caller.deadline
    assert called.ended - called.started <= deadline + GRACE_SECONDS, called


def delivers_nothing_twice(called: Called) -> None:
    shown, arguments = "", ""
    for place, event in enumerate(called.events):
        match event:
            case TextDelta(text):
                shown += text
            case ToolCallDelta():
                arguments += event.arguments
            case Restarted():
                assert not arguments, "restarted after a tool call was delivered"
                shown = ""
            case Continued():
                assert not arguments, "continued after a tool call was delivered"
                assert event.offset == len(shown), called
            case Finished():
                assert place == len(called.events) - 1, "something came after the end"
    assert STORY.startswith(shown), (shown, called)
    assert TOOL_CALL.arguments.startswith(arguments), called
    if called.outcome == "whole":
        assert shown == STORY or arguments or called.text == "", called
    if isinstance(called.error, StreamInterrupted):
        assert called.error.partial.text == shown, called


def asks_no_more_than_it_may(called: Called, sent: list[Sent]) -> None:
    assert len(sent) <= called.limit, (called, sent)
    if called.attempts is None:
        return
    every_request_is_one_record(called.attempts, sent)
    assert [attempt.number for attempt in called.attempts] == list(range(1, len(called.attempts) + 1)), called


def asks_a_worker_a_third_time_only_as_the_sdks_would(
    called: Called, sent: list[Sent], never_failed: set[str]
) -> None:
    """Two tries are the limit while another worker can be asked. The third is a retry of the official SDKs, no sooner.

    A worker that was silent on a kept connection is asked once more on a new one.
    """
    kinds = Counter(attempt.failure.kind for attempt in called.attempts or () if attempt.failure)
    for worker in {attempt.worker for attempt in called.attempts or ()}:
        tries = [
            attempt for attempt in called.attempts or () if attempt.worker == worker and _is_a_try(attempt)
        ]
        for before, attempt in pairwise(tries[TRIES_PER_WORKER - 1 :]):
            failure = before.failure
            assert failure is not None, called
            assert official_sdks_retry(failure) or failure.kind is FailureKind.STALLED, (attempt, called)
        if len(tries) > TRIES_PER_WORKER and not kinds.keys() & (ABOUT_THE_REQUEST | {FailureKind.STALLED}):
            times = [request.when for request in sent if request.worker == worker]
            assert times[-1] - times[0] >= SDK_SECONDS or len(times) < len(tries), (times, called)
            assert not never_failed - {attempt.worker for attempt in called.attempts or ()}, called


def _is_a_try(attempt: Attempt) -> bool:
    """Whether it says something about the worker, and not about a key or the request."""
    return attempt.failure is None or attempt.failure.kind not in ABOUT_THE_KEY | ABOUT_THE_REQUEST


def never_failed(seen: Seen) -> set[str]:
    """Workers that could be asked at any time: all they were asked they served, and no one touched an actor."""
    if any(step.what in ("kill", "remove", "reload") for step in seen.schedule.steps):
        return set()
    present = seen.schedule.upstreams[: seen.schedule.present]
    failed = {attempt.worker for attempt in seen.attempts if attempt.failure is not None}
    return {
        upstream.name
        for upstream in present
        if upstream.name not in failed and "max_concurrency" not in upstream.settings
    }


# ------------------------------------------------------------------ all together


def every_request_is_one_record(attempts: Iterable[Attempt], sent: Iterable[Sent]) -> None:
    """The ledger is what the providers saw; only who was cancelled or got no connection may not have been seen."""
    attempts = list(attempts)
    seen = Counter((request.worker, request.key) for request in sent)
    recorded = Counter((attempt.worker, attempt.key) for attempt in attempts)
    certain = Counter((attempt.worker, attempt.key) for attempt in attempts if _was_certainly_sent(attempt))
    assert not seen - recorded, f"asked, but not in the ledger: {seen - recorded} of {attempts}"
    assert not certain - seen, f"in the ledger, but never asked: {certain - seen} of {attempts}"


def _was_certainly_sent(attempt: Attempt) -> bool:
    failure = attempt.failure
    if failure is None:
        return True
    connecting = failure.phase == "connect" or (
        failure.kind is FailureKind.STALLED and failure.phase == "headers"
    )
    return failure.kind not in (FailureKind.CANCELLED, FailureKind.CRASHED) and not connecting


def nobody_is_asked_before_the_time_it_named(seen: Seen) -> None:
    """What was said to somebody who had left already was heard by nobody.

    One that was admitted before, and then had to wait for a KeyManager that was just killed, may be on its way.
    """
    killed = [step.at for step in seen.schedule.steps if (step.what, step.who) == ("kill", "keys")]
    for hint in seen.hints:
        on_their_way = RESTART_SECONDS if hint.everybody and hint.at in killed else 0.0
        if (hint.at, hint.worker, hint.key, hint.seconds) not in seen.heard:
            continue
        until = hint.until
        began, done = seen.reloads.get(hint.worker, (-1.0, -1.0))
        # A request that was let in before the reload may still wait for a KeyManager that was killed.
        if hint.everybody and hint.at <= done + RESTART_SECONDS:
            until = min(until, max(began, hint.at))  # another configuration may be another server
        if hint.kind is FailureKind.QUOTA:
            until = min(until, hint.at + TRIAL_SECONDS, _lifted_after(hint, seen))
        early = [
            sent
            for sent in seen.sent
            if sent.worker == hint.worker
            and sent.call is not None
            and (hint.everybody or sent.key == hint.key)
            if hint.at + on_their_way < sent.when < until - 1e-6
        ]
        assert not early, f"{hint} was not honoured: {early}"


def _lifted_after(hint: Hint, seen: Seen) -> float:
    """When a person first asked for what ends a cooldown after a refusal; infinity if never."""
    return min((max(began, hint.at) for began, done in seen.lifted if hint.at <= done), default=math.inf)


def everybody_runs(seen: Seen) -> None:
    """Every actor of the tree runs, and there is one for every worker and for nobody else."""
    rows = [re.split(r"\s{2,}", line.lstrip("│├└─ ")) for line in seen.tree.splitlines()]
    assert all(re.fullmatch(r"running(, \d+ restarts?)?", status) for _, _, status in rows), seen.tree
    names = [name for name, server, _ in rows if server == "Worker"]
    assert sorted(names) == sorted(seen.workers), (seen.workers, seen.tree)
    assert {"cortex", "registry", "keys", "workers", "health"} <= {name for name, _, _ in rows}, seen.tree
