"""Are the quiet ones well? Free requests to every worker, in parallel, each bounded, none ever a completion.

The deciding is `health_of`, a pure function; the asking runs in whoever asks: the HealthMonitor between its own
messages, which nobody waits for, or the caller of `Cortex.check_health`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Literal

import trio

from ..failures import Failure, FailureKind, classify
from ..otp import GenServer, Timer
from ..wire.codec import HttpRequest
from .calls import patiently
from .dialects import DialectFailed
from .keys import KeyManager
from .registry import WorkerRegistry
from .runtime import Runtime
from .secrets import ApiKey
from .transport import TransportFailed
from .worker import Checked, Worker, WorkerState

Status = Literal["available", "unavailable", "quota_exceeded", "rate_limited"]

JITTER = 0.1
MOST_KEYS = 3
"""Keys that are tried in one check, if one after the other is refused."""
BODY_LIMIT = 4 * 1024 * 1024
"""Bytes of a health answer that are read: a list of models is long, but not that long."""


def health_of(failure: Failure | None) -> tuple[Status, FailureKind | None] | None:
    """What a health request's outcome says of a worker; None: nothing, keep what real traffic showed."""
    if failure is None:
        return "available", None
    match failure.kind:
        case FailureKind.PERMISSION if failure.status == HTTPStatus.UNAUTHORIZED:
            return None  # OpenAI's "Missing scopes": a restricted key may not list models and still chats
        case FailureKind.CANCELLED:
            return None  # it was being changed, and not asked
        case FailureKind.CREDENTIAL | FailureKind.PERMISSION | FailureKind.QUOTA:
            return "quota_exceeded", failure.kind
        case FailureKind.RATE_LIMIT:
            return "rate_limited", failure.kind
        case _:
            return "unavailable", failure.kind


async def check_all(runtime: Runtime, *, only_quiet: bool = False) -> None:
    """Check every worker, all at once; with `only_quiet` skip those whose real traffic is fresher than a round."""
    now, interval = trio.current_time(), runtime.config.health_check_interval
    async with trio.open_nursery() as nursery:
        for state in list(runtime.table.workers.values()):
            if only_quiet and now - state.last_served < interval:
                state.ref.cast(Worker.refresh)
            elif not state.draining:
                nursery.start_soon(check_worker, runtime, state)
            if refused := _refused_keys(runtime, state):
                nursery.start_soon(_probe, runtime, state, runtime.random.choice(refused))
    await patiently(runtime.registry, WorkerRegistry.health_checked)


async def check_worker(runtime: Runtime, state: WorkerState) -> None:
    """Ask one worker and tell its actor the verdict. A request that hangs is a verdict, too.

    A refused key is that key's trouble: the next one is tried before it is called the worker's.
    """
    failure: Failure | None = None
    for key in _keys_to_try(runtime, state):
        failure = await _probe(runtime, state, key)
        if failure is None or failure.kind is not FailureKind.CREDENTIAL:
            break
    verdict = health_of(failure)
    if verdict is not None:
        state.ref.cast(Worker.checked, Checked(*verdict, trio.current_time()))


async def _probe(runtime: Runtime, state: WorkerState, key: ApiKey | None) -> Failure | None:
    """One free request with `key`; the KeyManager is told what it proves of the key."""
    answer = await ask_free(state, state.kind.health, key, runtime.config.health_check_timeout)
    if isinstance(answer, bytes):
        runtime.keys.cast(KeyManager.accept, state.name, key)
        return _model_is_missing(runtime, state, answer, key) if state.kind.health_lists_models else None
    if answer.kind is FailureKind.CREDENTIAL:
        runtime.keys.cast(KeyManager.refuse, state.name, key)
    return answer


def free_key(runtime: Runtime, state: WorkerState) -> ApiKey | None:
    """A key that is not resting, if there is one."""
    return _keys_to_try(runtime, state)[0]


def _keys_to_try(runtime: Runtime, state: WorkerState) -> list[ApiKey | None]:
    """Those that do not rest: a probe need not repeat what a rest already says. If all rest, any of them."""
    states = runtime.ring.states(state.name)
    now, model = trio.current_time(), state.models[0]
    free = [known.key for known in states if known.rest(model, now) is None]
    if not free and states:
        free = [runtime.random.choice(states).key]
    return free[:MOST_KEYS] or [None]


def _refused_keys(runtime: Runtime, state: WorkerState) -> list[ApiKey | None]:
    """Keys that were not accepted, beside others that are: one of them gets another chance in each round."""
    states = runtime.ring.states(state.name)
    now, model = trio.current_time(), state.models[0]
    rests = [(known.key, known.rest(model, now)) for known in states]
    refused = [key for key, rest in rests if rest and rest.kind is FailureKind.CREDENTIAL]
    return refused if len(refused) < len(states) else []


async def ask_free(
    state: WorkerState, request: HttpRequest, key: ApiKey | None, timeout: float
) -> bytes | Failure:
    """Send a request that costs nothing and return its whole body, or what its failing proves."""
    if not state.has(key):
        return Failure(FailureKind.CANCELLED, "its configuration is being changed", phase="connect")
    body = bytearray()
    with trio.move_on_after(timeout):
        try:
            answer = await state.connections.send(request, key, connect_timeout=timeout)
            try:
                while len(body) < BODY_LIMIT and (data := await answer.receive()):
                    body += data
            finally:
                await answer.aclose()
        except TransportFailed as error:
            return error.failure
        if 200 <= answer.status < 300:
            return bytes(body)
        secrets = (key.reveal(),) if key else ()
        return classify(answer.status, answer.headers, bytes(body), now=datetime.now(UTC), secrets=secrets)
    return Failure(FailureKind.STALLED, f"no answer within {timeout:g} s", phase="body")


def _model_is_missing(
    runtime: Runtime, state: WorkerState, body: bytes, key: ApiKey | None
) -> Failure | None:
    """A local server that lists what it can serve: is the default model among it? `name` means `name:latest`."""
    try:
        served = runtime.dialects.models(state.kind, body, key)
    except DialectFailed as failed:
        return failed.failure
    wanted = state.models[0]
    if wanted in served or f"{wanted}:latest" in served:
        return None
    return Failure(FailureKind.MODEL_NOT_FOUND, f"the model {wanted!r} is not there")


class HealthMonitor(GenServer):
    """Runs a round of checks every `health_check_interval` seconds, a little jittered; 0 means never."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._timer: Timer | None = None  # None: there are no rounds

    async def init(self) -> None:
        self._schedule()

    async def reschedule(self) -> None:
        """The interval was changed: the next round is due so long from now."""
        self._schedule()

    async def handle_info(self, message: object) -> None:
        if message == "check":
            await check_all(self._runtime, only_quiet=True)
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()  # there is one at most, whoever asks for the next round
        interval = self._runtime.config.health_check_interval
        if interval > 0:
            jittered = interval * (1 + JITTER * (self._runtime.random.random() - 0.5))
            self._timer = self.send_after(jittered, "check")
