"""Requests that cost nothing: lists of models and status pages, for health checks and for `Cortex.models`.

They take no permit and lease no API key: a provider does not count them, and they must be possible while all of a
worker's keys are cooling down.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from ..errors import ProviderError
from ..failures import Failure, FailureKind
from ..http.exchange import Progress
from ..wire.codec import HttpRequest
from .runtime import Runtime
from .settings.secrets import ApiKey
from .transport.connections import Answer, TransportFailed
from .transport.error_response import read_failure
from .workers.dialect_guard import DialectFailed
from .workers.endpoint import Endpoint
from .workers.worker import WorkerState

MAX_BODY_BYTES = 4 * 1024 * 1024
"""Bytes of a body that are read: a list of models may be long, but not as long as this."""


async def send_free_request(
    endpoint: Endpoint, request: HttpRequest, key: ApiKey | None, timeout: float
) -> bytes:
    """Send a request that costs nothing; return the body of the response.

    Args:
        endpoint: the server, and the connections to it.
        request: of the provider: `Provider.health` or `Provider.models`.
        key: None for a provider that needs none.
        timeout: seconds for the whole exchange.

    Raises:
        TransportFailed: there was no response with a 2xx status within `timeout` seconds.
    """
    until, progress = trio.current_time() + timeout, Progress()
    endpoint.connections.users += 1
    try:
        with trio.move_on_at(until):
            response = await endpoint.connections.send(
                request, key, connect_timeout=timeout, progress=progress
            )
            try:
                if 200 <= response.status < 300:
                    return await _read_body(response)
                raise TransportFailed(await read_failure(response, key, until=until))
            finally:
                await response.aclose()
    finally:
        endpoint.connections.users -= 1
    text, ours = f"no answer within {timeout:g} s", progress.phase == "place"
    raise TransportFailed(Failure(FailureKind.STALLED, text, phase="body", ours=ours))


async def _read_body(response: Answer) -> bytes:
    body = bytearray()
    while len(body) < MAX_BODY_BYTES and (data := await response.receive()):
        body += data
    return bytes(body)


async def list_models(runtime: Runtime, state: WorkerState) -> Sequence[str]:
    """Return the models that the worker's provider lists now. Raises ProviderError."""
    endpoint = state.endpoint
    key = keys_for_free_requests(runtime, state)[0]
    failed: TransportFailed | DialectFailed
    try:
        body = await send_free_request(endpoint, endpoint.provider.models, key, endpoint.timeout)
        try:
            return runtime.dialects.models(endpoint.provider, body, key)
        finally:
            del body  # it may repeat the key, and a traceback with locals would show it
    except (TransportFailed, DialectFailed) as error:
        failed = error
    raise ProviderError(failed.failure, state.name) from failed.__cause__


def keys_for_free_requests(runtime: Runtime, state: WorkerState) -> Sequence[ApiKey | None]:
    """Return the API keys that are not cooling down, in order; at least one entry.

    If all are cooling down, it is one of them at random: the worker is asked all the same. None stands for a worker
    without keys.
    """
    keys, now, model = state.endpoint.keys, trio.current_time(), state.models[0]
    free = [key for key in keys if runtime.cooldowns.of_key(state.name, model, key, now) is None]
    if not free and keys:
        free = [runtime.random.choice(keys)]
    return free or [None]
