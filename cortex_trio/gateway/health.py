"""Health checks: a free request to every idle worker, in parallel, each with a timeout. Never a completion.

A check that succeeds proves that a worker is available. A check that fails proves little: the worker becomes the last
choice, and is not excluded. What a failed check means is `suspicion_of`, a pure function. The requests run in the task
that needs the result: in the `HealthMonitor`, between two of its messages, or in the caller of `Cortex.check_health`.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

import trio

from ..failures import Failure, FailureKind
from ..otp import ActorError
from ..providers import Provider
from ..telemetry import HealthChecked
from .free_requests import keys_for_free_requests, send_free_request
from .runtime import Runtime
from .settings.secrets import ApiKey
from .transport.errors import TransportFailed
from .workers.breaker import BreakerState
from .workers.calls import call_with_retry
from .workers.dialect_guard import DialectFailed
from .workers.endpoint import Endpoint
from .workers.registry import WorkerRegistry
from .workers.worker import Worker, WorkerState

MAX_KEYS = 3
"""API keys that one check tries, one after the other, while they are refused."""
MAX_CONCURRENT_CHECKS = 32
"""A thousand workers must not take a thousand file descriptors."""


def suspicion_of(failure: Failure, *, answers_are_arriving: bool) -> FailureKind | None:
    """Return why a worker is suspected after a failed check; None if the check proves nothing.

    A server without a list of models (404, 405, 501, a web page instead) may serve chats, and so may a restricted key
    (OpenAI's 401 "Missing scopes"). A list that is slow while answers arrive may just wait behind them. A limit of our
    own says nothing about the worker.

    Args:
        failure: of the check.
        answers_are_arriving: requests to this worker were in flight during the check.
    """
    if failure.ours:
        return None
    match failure.kind:
        case FailureKind.CANCELLED | FailureKind.UNKNOWN | FailureKind.MODEL_NOT_FOUND:
            return None
        case FailureKind.BAD_REQUEST | FailureKind.PROTOCOL | FailureKind.CONTENT_POLICY:
            return None
        case FailureKind.EDGE if (failure.status or 0) < HTTPStatus.INTERNAL_SERVER_ERROR:
            return None
        case FailureKind.PERMISSION if failure.status == HTTPStatus.UNAUTHORIZED:
            return None
        case FailureKind.SERVER | FailureKind.EDGE if failure.status == HTTPStatus.NOT_IMPLEMENTED:
            return None
        case FailureKind.STALLED if answers_are_arriving:
            return None
        case kind:
            return kind


async def check_all(runtime: Runtime, *, only_idle: bool = False) -> None:
    """Check every worker, and record when that was done. Cancelling ends the checks that run.

    Args:
        runtime: of the gateway.
        only_idle: skip workers that have served a request within the last `health_check_interval` seconds.
    """
    now, interval = trio.current_time(), runtime.config.health_check_interval
    limit = trio.CapacityLimiter(MAX_CONCURRENT_CHECKS)
    async with trio.open_nursery() as nursery:
        for state in list(runtime.table.workers.values()):
            if only_idle and now - state.last_served < interval:
                state.ref.cast(Worker.refresh)
            elif not state.draining:
                nursery.start_soon(_check_worker, runtime, state, limit)
            if refused := _refused_keys(runtime, state):
                nursery.start_soon(_check_key, runtime, state, runtime.random.choice(refused), limit)
    await call_with_retry(runtime.registry, WorkerRegistry.health_checked)


def lift_cooldowns(runtime: Runtime) -> None:
    """End every cooldown but those for a time that a server named. For what an operator asks for."""
    for state in runtime.table.workers.values():
        runtime.cooldowns.lift(state.name)
        state.ref.cast(Worker.refresh)
    runtime.wait_queue.wake_all()


async def _check_worker(runtime: Runtime, state: WorkerState, limit: trio.CapacityLimiter) -> None:
    """Check one worker. A refused API key is a fact about this key, so the next one is tried."""
    async with limit:
        endpoint, was_busy, started = state.endpoint, state.in_flight > 0, trio.current_time()
        failure: Failure | None = None
        for key in keys_for_free_requests(runtime, state)[:MAX_KEYS]:
            failure = await _check(runtime, state, endpoint, key)
            if failure is None or failure.kind is not FailureKind.CREDENTIAL:
                break
        if runtime.telemetry.observers:
            seconds = trio.current_time() - started
            runtime.telemetry.emit(HealthChecked(state.name, failure, seconds))
        if failure is None or not _is_current(runtime, state, endpoint):
            return
        suspicion = suspicion_of(failure, answers_are_arriving=was_busy or state.in_flight > 0)
        if suspicion is not None:
            runtime.cooldowns.suspect(state.name, suspicion, trio.current_time())
        state.ref.cast(Worker.refresh)


async def _check_key(
    runtime: Runtime, state: WorkerState, key: ApiKey | None, limit: trio.CapacityLimiter
) -> None:
    async with limit:
        await _check(runtime, state, state.endpoint, key)


async def _check(
    runtime: Runtime, state: WorkerState, endpoint: Endpoint, key: ApiKey | None
) -> Failure | None:
    """Send one free request with `key` and record what the response proves.

    Returns:
        What failed. None: nothing, or the endpoint was replaced meanwhile.
    """
    provider, timeout = endpoint.provider, runtime.config.health_check_timeout
    try:
        body = await send_free_request(endpoint, provider.health, key, timeout)
    except TransportFailed as failed:
        failure = failed.failure
        refused = failure.kind is FailureKind.CREDENTIAL and key is not None
        if refused and _is_current(runtime, state, endpoint):
            runtime.cooldowns.suspect(state.name, failure.kind, trio.current_time(), key=key)
        return failure
    if not _is_current(runtime, state, endpoint):
        return None
    if body.lstrip()[:1] == b"<":
        return Failure(FailureKind.PROTOCOL, "a web page", phase="body")
    models: tuple[str, ...] = ()
    if provider.health_lists_models or _may_end_a_cooldown(runtime, state, provider):
        try:
            models = tuple(runtime.dialects.models(provider, body, key))
        except DialectFailed as undecodable:
            return undecodable.failure
    await _record_success(runtime, state, key, models)
    if provider.health_lists_models and not _is_listed(state.models[0], models):
        runtime.cooldowns.suspect(state.name, FailureKind.MODEL_NOT_FOUND, trio.current_time())
    return None


async def _record_success(
    runtime: Runtime, state: WorkerState, key: ApiKey | None, models: tuple[str, ...]
) -> None:
    """End what the check disproves: cooldowns, and the open time of the breaker."""
    may_be_asked = runtime.cooldowns.check_passed(state.name, key, [*models, *_without_tag(models)])
    may_be_asked |= state.breaker.state(trio.current_time()) is BreakerState.OPEN
    with suppress(ActorError):  # its supervisor starts it again, and the next round checks it again
        # A call, not a cast: the breaker must be half-open before the calls that wait look at it.
        await call_with_retry(state.ref, Worker.check_passed)
    if may_be_asked:  # only then: every call that waits looks at every worker
        runtime.wait_queue.wake_all()


def _is_current(runtime: Runtime, state: WorkerState, endpoint: Endpoint) -> bool:
    """The worker was not removed meanwhile, and no reload has replaced its endpoint."""
    return runtime.table.workers.get(state.name) is state and state.endpoint is endpoint


def _may_end_a_cooldown(runtime: Runtime, state: WorkerState, provider: Provider) -> bool:
    """Whether a model was not found before, and the health request returns the list of models."""
    entries = runtime.cooldowns.entries(state.name, trio.current_time())
    missing = any(cooldown.kind is FailureKind.MODEL_NOT_FOUND for _, cooldown in entries)
    return missing and provider.health == provider.models


def _is_listed(model: str, models: tuple[str, ...]) -> bool:
    """For Ollama `name` is the same as `name:latest`."""
    return model in models or f"{model}:latest" in models


def _without_tag(models: tuple[str, ...]) -> list[str]:
    return [model.removesuffix(":latest") for model in models if model.endswith(":latest")]


def _refused_keys(runtime: Runtime, state: WorkerState) -> list[ApiKey]:
    """The API keys that were refused while others were not: each round checks one of them again."""
    keys, now, model = state.endpoint.keys, trio.current_time(), state.models[0]
    refused = []
    for key in keys:
        cooldown = runtime.cooldowns.of_key(state.name, model, key, now)
        if cooldown is not None and cooldown.kind is FailureKind.CREDENTIAL:
            refused.append(key)
    return refused if len(refused) < len(keys) else []
