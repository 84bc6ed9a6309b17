"""The gateway as its user sees it: `open_cortex()` starts the tree, `Cortex` has the verbs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any, Unpack, final

import trio

from ..errors import ProviderError
from ..events import Reply, Vectors
from ..failures import NoWorkersAvailable
from ..messages import Messages
from ..otp import Ref, Supervisor, describe, run
from ..otp.nursery import open_flat_nursery
from ..telemetry import Telemetry
from .health import ask_free, check_all, free_key, lift_cooldowns
from .reconfigure import Changes, worker_state
from .request.candidates import CallCandidates
from .request.failover import Failover
from .request.jobs import ChatJob, EmbedJob, without_unable
from .request.options import CallLimits, ChatOptions, chat_from, named, positive, texts_from
from .request.stream import ChatStream
from .routing.eligibility import Criteria
from .routing.index import embed_batch, embed_model
from .routing.selection import explain
from .runtime import Runtime
from .settings.config import Config, WorkerConfig, config_from_env, worker_config_from, worker_name
from .transport.connections import Connector, MakeTransport, TransportFailed
from .tree import cortex_tree
from .workers.calls import call_with_retry
from .workers.cooldowns import Cooldowns
from .workers.dialect_guard import DialectFailed
from .workers.keys import KeyRing
from .workers.registry import WorkerRegistry, WorkerTable
from .workers.status import HealthStatus, WorkerInfo, health_status, worker_info


@asynccontextmanager
async def open_cortex(
    config: Config | Mapping[str, Any] | None = None,
    *,
    http_transport: MakeTransport | None = None,
    on_event: Callable[[object], None] | None = None,
) -> AsyncIterator[Cortex]:
    """Start the supervision tree inside the caller's task and stop it, in order, on the way out.

    `config` may be a Config, a mapping like the object inside CORTEX_PROVIDERS, or None for
    `Config.from_env()`. `http_transport` is a function that makes the transport of each worker: one of httpx or
    httpx2, or any with the same two methods; proxies and certificates are its matter then. `on_event` is told what
    happens (what it raises is logged once and swallowed). Raises ConfigError before anything runs. A tree that gives
    up raises one `otp.MaxRestartsExceeded` out of the context; what the body raises comes out as it is.
    """
    try:
        checked = await _config(config)
    finally:
        del config  # a traceback with locals is a place where keys leak
    connect = Connector(http_transport, checked.max_idle_connections)
    cooldowns = Cooldowns(checked.rate_limit_rest)
    states = [worker_state(name, worker, connect, cooldowns) for name, worker in checked.workers.items()]
    ring = KeyRing(cooldowns, checked.key_strategy)
    for state in states:
        ring.set_keys(state.name, state.config.api_keys)
    runtime = Runtime(checked, WorkerTable.of(states), cooldowns, ring, Telemetry(on_event))
    try:
        async with open_flat_nursery() as nursery:
            nursery.start_soon(runtime.deadlines.run)
            await nursery.start(_run_tree, runtime)
            try:
                yield Cortex(runtime, connect)
            finally:
                runtime.close()
            nursery.cancel_scope.cancel()
    finally:
        states = list(runtime.table.workers.values())
        for connections in [*(state.connections for state in states), *runtime.retired]:
            await connections.aclose()


async def _run_tree(runtime: Runtime, task_status: trio.TaskStatus[object]) -> None:
    await run(cortex_tree(runtime), ref=runtime.root, task_status=task_status)


async def _config(config: Config | Mapping[str, Any] | None) -> Config:
    try:
        if config is None:
            return await config_from_env()
        return config if isinstance(config, Config) else Config.from_mapping(config)
    finally:
        del config


@final
class Cortex:
    """A running gateway. Every method may be called from any task of the same Trio run."""

    def __init__(self, runtime: Runtime, connect: Connector) -> None:
        self._runtime = runtime
        self._changes = Changes(runtime, connect)

    # -------------------------------------------------------------- asking

    def chat(
        self, messages: Messages, **options: Unpack[ChatOptions]
    ) -> AbstractAsyncContextManager[ChatStream]:
        """Stream an answer from the best worker.

        Entering the context connects, fails over and waits for the first content. Cancelling, or leaving early, closes
        the connection before control returns.

        Args:
            messages: the conversation so far, or one question.
            options: those of `ChatOptions`; only what is set is sent.

        Raises:
            InvalidRequest: an option is not allowed, or no worker can express it.
            NoWorkersAvailable: no worker could be asked.
            ProviderError: the only attempt failed.
            AllWorkersFailed: several attempts failed.
        """
        return ChatStream(self._runtime, chat_from(messages, **options))

    async def complete(self, messages: Messages, **options: Unpack[ChatOptions]) -> Reply:
        """The whole answer; failover is invisible until the last event (on_interrupt="buffer").

        Options and errors as in `chat`.
        """
        options["on_interrupt"] = "buffer"
        async with ChatStream(self._runtime, chat_from(messages, **options)) as stream:
            return await stream.collect()

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str | None = None,
        provider: str | None = None,
        dimensions: int | None = None,
    ) -> Sequence[Sequence[float]]:
        """One vector per text, in order, with the same failover as `chat`. Raises as entering `chat` does.

        Without `model`, the first worker's own by priority, also while it is unavailable: vectors of two models
        cannot be compared, so failover goes only to workers that have the same one. A list that is longer than
        their providers take at once goes in several requests.
        """
        wanted_texts, size = texts_from(texts), positive("dimensions", dimensions, whole=True)
        model, provider = named("model", model), named("provider", provider)
        model = model or embed_model(self._runtime.index, provider)
        criteria = Criteria(model, provider, embed=True)
        most = embed_batch(self._runtime.index, criteria)
        vectors: list[Sequence[float]] = []
        for start in range(0, len(wanted_texts), most):
            job = EmbedJob(wanted_texts[start : start + most], size)
            failover = Failover(self._runtime, job, criteria, CallLimits())
            async with aclosing(await failover.open()) as attempt:
                vectors += next(event.vectors for event in attempt.held if isinstance(event, Vectors))
        return vectors

    async def models(self, *, worker: str) -> Sequence[str]:
        """The models `worker`'s provider lists now. Raises NoWorkersAvailable for an unknown worker, ProviderError."""
        state = self._runtime.table.workers.get(named("worker", worker))
        if state is None:
            known = ", ".join(self._runtime.table.workers) or "none"
            raise NoWorkersAvailable(f"there is no worker {worker!r}; there are: {known}")
        endpoint = state.endpoint
        key = free_key(self._runtime, state)
        failed: TransportFailed | DialectFailed
        try:
            answer = await ask_free(endpoint, endpoint.provider.models, key, endpoint.timeout)
            try:
                return self._runtime.dialects.models(endpoint.provider, answer, key)
            finally:
                del answer  # it may repeat the key
        except (TransportFailed, DialectFailed) as error:
            failed = error
        raise ProviderError(failed.failure, worker) from failed.__cause__

    # -------------------------------------------------------------- looking

    async def health_status(self) -> HealthStatus:
        """Return the status of every worker, from what is known; asks no provider."""
        states = await call_with_retry(self._runtime.registry, WorkerRegistry.list_all)
        checked = self._runtime.table.last_health_check
        return health_status(states, self._runtime.ring, checked, trio.current_time())

    async def check_health(self) -> HealthStatus:
        """Check every worker now, each for at most `health_check_timeout` seconds, with free requests.

        It also ends every cooldown but those for a time that a server named: a person who asks knows more (the credit
        was bought, the model was pulled).
        """
        lift_cooldowns(self._runtime)
        await check_all(self._runtime)
        return await self.health_status()

    async def list_workers(self) -> Sequence[WorkerInfo]:
        """Return all workers, in the order they were added."""
        states = await call_with_retry(self._runtime.registry, WorkerRegistry.list_all)
        return tuple(worker_info(state, self._runtime.ring, trio.current_time()) for state in states)

    def explain(self, messages: Messages, **options: Unpack[ChatOptions]) -> str:
        """Which workers would be tried, in which order, and why the others would not. Sends nothing.

        Options and InvalidRequest as in `chat`.
        """
        chat = chat_from(messages, **options)
        evaluation = CallCandidates(self._runtime, chat.criteria).evaluate_all()
        able = without_unable(evaluation, ChatJob(chat.request), self._runtime.dialects)
        return explain(able, trio.current_time())

    def tree(self) -> str:
        """The supervision tree as it is now: states, restarts."""
        return describe(self._runtime.root)

    @property
    def root(self) -> Ref[Supervisor]:
        """The root of that tree, for those who want to get at an actor: to watch one, or to kill it and see."""
        return self._runtime.root

    def actor(self, name: str) -> Ref[Any]:
        """The address of an actor: "registry", "keys", "workers", "health", or a worker's name.

        For looking and for trying out what the tree survives: `cortex.actor("keys").kill()`. Raises KeyError.
        """
        runtime = self._runtime
        fixed: dict[str, Ref[Any]] = {
            ref.name: ref for ref in (runtime.registry, runtime.keys, runtime.workers, runtime.health)
        }
        return fixed[name] if name in fixed else runtime.table.workers[name].ref

    # -------------------------------------------------------------- changing

    async def add_worker(self, name: str, config: WorkerConfig | Mapping[str, Any]) -> None:
        """Start a worker. Raises ConfigError, also for a name that is taken; times of a mapping are in ms."""
        try:
            checked = worker_config_from(worker_name(name), config, f"$.{name}")
        finally:
            del config
        await self._changes.add(name, checked)

    async def remove_worker(self, name: str, *, drain: float = 30.0) -> None:
        """Takes it out of selection at once, lets its streams end for up to `drain` seconds. Unknown name: KeyError."""
        await self._changes.remove(name, drain)

    async def reload(self, config: Config | Mapping[str, Any] | None = None, *, drain: float = 30.0) -> None:
        """Go on under another configuration without dropping a stream; None reads the environment again.

        New workers are added first, changed ones change in place (what is in flight ends on the old
        connections), those that are gone are removed as by `remove_worker`. Raises ConfigError with nothing
        changed. Of several at once the later ones wait for the earlier.
        """
        try:
            new = await _config(config)
        finally:
            del config
        await self._changes.change_to(new, drain)
