"""Health checks: free requests to every idle worker, in parallel, each bounded in time, never a completion.

A check is a hint, never a gate: it proves that a worker is available, and makes it at most the last choice when it
fails. What a failed check says is `suspicion_of`, a pure function. The requests run in the task that wants to know:
the `HealthMonitor` between its own messages, or the caller of `Cortex.check_health`.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

import trio

from ..failures import Failure, FailureKind
from ..http.exchange import RequestProgress
from ..otp import ActorError
from ..providers import Provider
from ..wire.codec import HttpRequest
from .runtime import Runtime
from .settings.secrets import ApiKey
from .transport.error_response import read_failure
from .transport.errors import TransportFailed
from .transport.response import Response
from .workers.breaker import BreakerState
from .workers.calls import call_with_retry
from .workers.dialect_guard import DialectFailed
from .workers.endpoint import Endpoint
from .workers.registry import WorkerRegistry
from .workers.worker import Worker, WorkerState

MOST_KEYS = 3
"""Keys that are tried in one check, if one after the other is refused."""
MOST_AT_ONCE = 32
"""Checks that run at the same time: a thousand workers must not take a thousand descriptors."""
BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a health answer that are read: a list of models is long, but not that long."""


def suspicion_of(failure: Failure, *, answers_are_arriving: bool) -> FailureKind | None:
    """What a failed check makes us suspect; None: it proves nothing, and what real traffic showed stays.

    A server without this list (404, 405, 501, a web page in its place) may chat all the same, and so does a
    restricted key (OpenAI's 401 "Missing scopes"). A list that is slow while answers arrive waits behind them. What
    ran out on our side is not the worker's.
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


async def check_all(runtime: Runtime, *, only_quiet: bool = False) -> None:
    """Check every worker; with `only_quiet` skip those whose real traffic is fresher than a round."""
    now, interval = trio.current_time(), runtime.config.health_check_interval
    limit = trio.CapacityLimiter(MOST_AT_ONCE)
    async with trio.open_nursery() as nursery:
        for state in list(runtime.table.workers.values()):
            if only_quiet and now - state.last_served < interval:
                state.ref.cast(Worker.refresh)
            elif not state.draining:
                nursery.start_soon(check_worker, runtime, state, limit)
            if refused := _refused_keys(runtime, state):
                nursery.start_soon(_probe_refused, runtime, state, runtime.random.choice(refused), limit)
    await call_with_retry(runtime.registry, WorkerRegistry.health_checked)


def lift_cooldowns(runtime: Runtime) -> None:
    """A person asked: every cooldown ends but those for a time that a server named."""
    for state in runtime.table.workers.values():
        runtime.cooldowns.lift(state.name)
        state.ref.cast(Worker.refresh)
    runtime.wait_queue.wake_all()


async def check_worker(runtime: Runtime, state: WorkerState, limit: trio.CapacityLimiter) -> None:
    """Ask one worker and enter what that proves. A refused key is that key's trouble: the next one is tried."""
    async with limit:
        endpoint, was_busy = state.endpoint, state.in_flight > 0
        failure: Failure | None = None
        for key in _keys_to_try(runtime, state):
            failure = await _probe(runtime, state, endpoint, key)
            if failure is None or failure.kind is not FailureKind.CREDENTIAL:
                break
        if failure is None or not _is_current(runtime, state, endpoint):
            return
        suspicion = suspicion_of(failure, answers_are_arriving=was_busy or state.in_flight > 0)
        if suspicion is not None:
            runtime.cooldowns.suspect(state.name, suspicion, trio.current_time())
        state.ref.cast(Worker.refresh)


async def _probe_refused(
    runtime: Runtime, state: WorkerState, key: ApiKey | None, limit: trio.CapacityLimiter
) -> None:
    async with limit:
        await _probe(runtime, state, state.endpoint, key)


async def _probe(
    runtime: Runtime, state: WorkerState, endpoint: Endpoint, key: ApiKey | None
) -> Failure | None:
    """One free request with `key`. Enters what an answer proves, and that a key was refused."""
    provider, timeout = endpoint.provider, runtime.config.health_check_timeout
    try:
        answer = await ask_free(endpoint, provider.health, key, timeout)
    except TransportFailed as failed_request:
        failure = failed_request.failure
        refused = failure.kind is FailureKind.CREDENTIAL and key is not None
        if refused and _is_current(runtime, state, endpoint):
            runtime.cooldowns.suspect(state.name, failure.kind, trio.current_time(), key=key)
        return failure
    if not _is_current(runtime, state, endpoint):
        return None
    models: tuple[str, ...] = ()
    if answer.lstrip()[:1] == b"<":
        return Failure(FailureKind.PROTOCOL, "a web page", phase="body")
    if provider.health_lists_models or _misses_a_model(runtime, state, provider):
        try:
            models = tuple(runtime.dialects.models(provider, answer, key))
        except DialectFailed as failed:
            return failed.failure
    opened = runtime.cooldowns.check_passed(state.name, key, [*models, *_without_tag(models)])
    opened |= state.breaker.state(trio.current_time()) is BreakerState.OPEN
    with suppress(ActorError):  # it starts again, and will be checked again
        await call_with_retry(
            state.ref, Worker.check_passed
        )  # before the calls that wait look at its breaker
    if opened:  # not after each of a thousand checks: every call that waits looks at every worker
        runtime.wait_queue.wake_all()
    if provider.health_lists_models and not _is_listed(state.models[0], models):
        missing = Failure(FailureKind.MODEL_NOT_FOUND, f"the model {state.models[0]!r} is not there")
        runtime.cooldowns.suspect(state.name, missing.kind, trio.current_time())
    return None


def _is_current(runtime: Runtime, state: WorkerState, endpoint: Endpoint) -> bool:
    """The worker was not removed meanwhile, and no reload has replaced its endpoint."""
    return runtime.table.workers.get(state.name) is state and state.endpoint is endpoint


def _misses_a_model(runtime: Runtime, state: WorkerState, provider: Provider) -> bool:
    """Would a list of models end a cooldown?"""
    entries = runtime.cooldowns.entries(state.name, trio.current_time())
    missing = any(cooldown.kind is FailureKind.MODEL_NOT_FOUND for _, cooldown in entries)
    return missing and provider.health == provider.models


def _is_listed(model: str, models: tuple[str, ...]) -> bool:
    """Ollama: `name` means `name:latest`."""
    return model in models or f"{model}:latest" in models


def _without_tag(models: tuple[str, ...]) -> list[str]:
    return [model.removesuffix(":latest") for model in models if model.endswith(":latest")]


def free_key(runtime: Runtime, state: WorkerState) -> ApiKey | None:
    """A key that is not cooling down, if there is one."""
    return _keys_to_try(runtime, state)[0]


def _keys_to_try(runtime: Runtime, state: WorkerState) -> list[ApiKey | None]:
    """Those that are not cooling down: what is known already need not be asked. If all are, any of them."""
    keys, now, model = state.endpoint.keys, trio.current_time(), state.models[0]
    free = [key for key in keys if runtime.cooldowns.of_key(state.name, model, key, now) is None]
    if not free and keys:
        free = [runtime.random.choice(keys)]
    return [*free[:MOST_KEYS]] or [None]


def _refused_keys(runtime: Runtime, state: WorkerState) -> list[ApiKey]:
    """Keys that were not accepted, beside others that are: one of them gets another chance in each round."""
    keys, now, model = state.endpoint.keys, trio.current_time(), state.models[0]
    refused = []
    for key in keys:
        cooldown = runtime.cooldowns.of_key(state.name, model, key, now)
        if cooldown is not None and cooldown.kind is FailureKind.CREDENTIAL:
            refused.append(key)
    return refused if len(refused) < len(keys) else []


async def ask_free(endpoint: Endpoint, request: HttpRequest, key: ApiKey | None, timeout: float) -> bytes:
    """Send a request that costs nothing and return its whole body.

    Raises TransportFailed, also for an answer that is no 2xx, and when it does not come within `timeout` seconds.
    """
    until, progress = trio.current_time() + timeout, RequestProgress()
    endpoint.connections.users += 1
    try:
        with trio.move_on_at(until):
            answer = await endpoint.connections.send(request, key, connect_timeout=timeout, progress=progress)
            try:
                if 200 <= answer.status < 300:
                    return await _whole_body(answer)
                raise TransportFailed(await read_failure(answer, key, until=until))
            finally:
                await answer.aclose()
    finally:
        endpoint.connections.users -= 1
    text, ours = f"no answer within {timeout:g} s", progress.phase == "pool"
    raise TransportFailed(Failure(FailureKind.STALLED, text, phase="body", ours=ours))


async def _whole_body(answer: Response) -> bytes:
    body = bytearray()
    while len(body) < BODY_LIMIT and (data := await answer.receive()):
        body += data
    return bytes(body)
