"""The gateway as users see it: `open_cortex()` opens one, `Cortex` has its methods.

It checks arguments and delegates. What a request does is in `request/`, what a change of workers does in
`reconfigure`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, Unpack, final, overload

import attrs
import trio

from ..cluster import Store, ValkeyStore
from ..costs import budget
from ..events import Embeddings, Reply, TypedReply
from ..failures import NoWorkersAvailable
from ..messages import Messages
from ..otp import Ref, Supervisor, describe
from ..telemetry import Observer, Snapshot
from .free_requests import list_models
from .health import check_all, lift_cooldowns
from .reconfigure import Changes
from .request.call import Call
from .request.candidates import CallCandidates
from .request.embedding import embed_all
from .request.forwarding import ForwardRequest
from .request.jobs import EmbedJob, without_unable
from .request.options import (
    Chat,
    ChatOptions,
    chat_from,
    forward_from,
    named,
    positive,
    tags_from,
    texts_from,
    with_alias,
)
from .request.stream import ChatStream
from .routing.eligibility import Criteria, Target
from .routing.index import embed_batch, embed_model
from .routing.selection import explain
from .runtime import Runtime
from .settings.config import Config, WorkerConfig, config_from_env, worker_config_from, worker_name
from .sharing.limits import SharedLimits
from .sharing.totals import SharedTotals
from .snapshots import snapshot_of
from .startup import open_runtime
from .transport.connections import MakeTransport
from .workers.calls import call_with_retry
from .workers.registry import WorkerRegistry
from .workers.status import HealthStatus, WorkerInfo, health_status, worker_info

T = TypeVar("T")


@asynccontextmanager
async def open_cortex(
    config: Config | Mapping[str, Any] | None = None,
    *,
    http_transport: MakeTransport | None = None,
    on_event: Observer | Sequence[Observer] | None = None,
    observe: str | bool = False,
    store: Store | None = None,
) -> AsyncIterator[Cortex]:
    """Open a gateway: start its supervision tree inside the caller's task, and stop it at the end of the block.

    When the block ends or is cancelled, requests in flight are cancelled, the actors are stopped in reverse order,
    and all connections are closed before this returns.

    Args:
        config: a Config, or a mapping like the object inside CORTEX_PROVIDERS. None: `Config.from_env()`.
        http_transport: returns the transport of each worker, of httpx or httpx2, or any object with the same two
            methods; proxies and certificates are then configured there. None: pooled HTTP/1.1 connections of our own,
            or httpx's where the configuration needs a proxy or HTTP/2.
        on_event: one observer or several. Each is called with every event (see `cortex_trio.Event`), synchronously, so
            it must be fast. What it raises is logged, and harms no call.
        observe: "unix:/run/cortex.sock" serves snapshots on this socket, for `cortex-trio observe`; only the user of
            this process may connect. True: a socket in $XDG_RUNTIME_DIR or the folder for temporary files; its path
            is logged. The socket is removed when the block ends.
        store: shares cooldowns and breakers with other gateways, such as `cluster.ValkeyStore("valkey://host")`. None:
            the one in `config.store`, if there is one. It is used in the background: no call waits for it, and a store
            that fails harms no call. Opening waits for it at most half a second.

    Raises:
        ConfigError: the configuration is wrong, or the socket cannot be opened. Nothing was started.
        otp.MaxRestartsExceeded: actors crashed too often; the block is cancelled.
        Exception: what the block raises, as it is: never in an ExceptionGroup of the gateway.
    """
    try:
        checked = await _config_from(config)
    finally:
        del config  # a traceback with locals would show the keys
    if store is None and checked.store is not None:
        store = ValkeyStore(checked.store)
    async with open_runtime(
        checked, http_transport=http_transport, on_event=on_event, observe=observe, store=store
    ) as runtime:
        yield Cortex(runtime)


async def _config_from(config: Config | Mapping[str, Any] | None) -> Config:
    try:
        if config is None:
            return await config_from_env()
        return config if isinstance(config, Config) else Config.from_mapping(config)
    finally:
        del config


@final
class Cortex:
    """A running gateway, made by `open_cortex`. Every method may be called from any task of the same Trio run."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._changes = Changes(runtime)

    # -------------------------------------------------------------- requests

    def chat(
        self, messages: Messages, **options: Unpack[ChatOptions]
    ) -> AbstractAsyncContextManager[ChatStream]:
        """Stream an answer from the best worker: `async with cortex.chat("Hi") as answer:`.

        Entering the block connects, fails over, and returns when the first content has arrived. Leaving it, early or
        by cancellation, closes the connection before control returns. Only options that are set are sent.

        Args:
            messages: a string, a Message, a mapping in OpenAI's shape, or a sequence of these.
            options: those of `ChatOptions`, which describes each of them.

        Raises:
            InvalidRequest: an option is wrong, or no worker's dialect can express it.
            NoWorkersAvailable: no worker could be asked; says why for each. Raised on entering, like the following.
            ProviderError: the only attempt failed. StreamInterrupted, while reading: the answer is incomplete.
            AllWorkersFailed: several attempts failed.
            BudgetExceeded: a budget around the call is used up. Raised on entering; nothing was sent.
        """
        return ChatStream(self._runtime, self._chat(messages, **options))

    @overload
    async def complete(
        self, messages: Messages, *, response_type: None = None, **options: Unpack[ChatOptions]
    ) -> Reply: ...
    @overload
    async def complete(
        self, messages: Messages, *, response_type: type[T], **options: Unpack[ChatOptions]
    ) -> TypedReply[T]: ...
    @overload
    async def complete(
        self, messages: Messages, *, response_type: Any, **options: Unpack[ChatOptions]
    ) -> TypedReply[Any]: ...
    async def complete(
        self, messages: Messages, *, response_type: Any = None, **options: Unpack[ChatOptions]
    ) -> Reply | TypedReply[Any]:
        """Return a complete answer. Failover stays possible until its end (on_interrupt="buffer").

        With `response_type` the answer is JSON that fits the type, and is returned as a value of it. An answer that
        does not fit is asked for once more, with what was wrong. Cancelling closes the connection.

        Args:
            messages: as of `chat`.
            response_type: an attrs class, a dataclass, a TypedDict, an Enum, a Literal, a union, a list, …. None: the
                answer is not converted.
            options: those of `ChatOptions`; `on_interrupt` is always "buffer".

        Raises:
            InvalidRequest: `response_type` has no form in JSON, or as `chat`.
            InvalidAnswer: the answer does not fit `response_type`, also the second time, or it is not complete.
            CortexError: as `chat`.
        """
        if response_type is None:
            return await self._complete(messages, options)
        from .request.typed import complete_typed  # here, because a program without types needs no cattrs

        return await complete_typed(self._complete, messages, response_type, options)

    async def _complete(self, messages: Messages, options: ChatOptions) -> Reply:
        options["on_interrupt"] = "buffer"
        async with ChatStream(self._runtime, self._chat(messages, **options), "complete") as stream:
            return await stream.collect()

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        model: str | None = None,
        provider: str | None = None,
        worker: str | None = None,
        dimensions: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Embeddings:
        """Return one vector for each text, in order, with the worker, the token counts and the cost.

        Failover as in `chat`; cancelling closes the connection.

        Args:
            texts: one string or several; a list longer than the providers allow is sent in several requests.
            model: None: that of the first worker by priority, also while it is unavailable. Failover goes only to
                workers with the same model, because vectors of different models cannot be compared.
            provider: only workers of this provider; and `worker`: only this one.
            dimensions: of each vector. None: the model's.
            tags: names and values for observers, as in `ChatOptions`.

        Raises: as entering `chat`.
        """
        wanted_texts, size = texts_from(texts), positive("dimensions", dimensions, whole=True)
        asked = Criteria(
            named("model", model), named("provider", provider), named("worker", worker), embed=True
        )
        wanted_model = asked.model or embed_model(self._runtime.index, asked)
        criteria = with_alias(attrs.evolve(asked, model=wanted_model), self._runtime.config)
        most = embed_batch(self._runtime.index, criteria)
        jobs = [
            EmbedJob(wanted_texts[start : start + most], size) for start in range(0, len(wanted_texts), most)
        ]
        set_options = {} if size is None else {"dimensions": size}
        call = Call(self._runtime, "embed", criteria, options=set_options, tags=tags_from(tags))
        with call:
            return await embed_all(self._runtime, call, jobs, criteria)

    def forward(self, request: ForwardRequest, **options: Unpack[ChatOptions]) -> ChatStream:
        """Answer a request that a client of one API has sent, as `cortex_trio.server` does.

        A worker that speaks the client's dialect gets the request as it came, and its answer has the bytes as they
        came, too: read it with `ChatStream.receive`. Any other worker gets a translation.

        Args:
            request: the request.
            options: those of `ChatOptions` that are not sent to a worker.

        Raises: as `chat`.
        """
        return ChatStream(self._runtime, self._with_alias(forward_from(request, **options)))

    def meaning(self, name: str) -> Target | None:
        """Return which workers a name means: an alias, a model, `worker/model`, `provider/model`. None: it means none.

        Args:
            name: of a model that a worker has, if it has one; empty or "auto" for the choice of the strategy.
        """
        return Target(model=name) if name in self.aliases else self._runtime.index.meaning(name)

    async def models(self, *, worker: str) -> Sequence[str]:
        """Return the models that the provider of `worker` lists now.

        Raises:
            NoWorkersAvailable: there is no worker of this name.
            ProviderError: there was no list within the worker's timeout.
        """
        state = self._runtime.table.workers.get(named("worker", worker))
        if state is None:
            known = ", ".join(self._runtime.table.workers) or "none"
            raise NoWorkersAvailable(f"there is no worker {worker!r}; there are: {known}")
        return await list_models(self._runtime, state)

    budget = staticmethod(budget)
    """The function `cortex_trio.budget`: a limit for the calls inside an `async with` block."""

    def _chat(self, messages: Messages, **options: Unpack[ChatOptions]) -> Chat:
        return self._with_alias(chat_from(messages, **options))

    def _with_alias(self, chat: Chat) -> Chat:
        criteria = with_alias(chat.criteria, self._runtime.config)
        return chat if criteria is chat.criteria else attrs.evolve(chat, criteria=criteria)

    # -------------------------------------------------------------- state

    async def health_status(self) -> HealthStatus:
        """Return the status of every worker, as far as it is known. Sends nothing."""
        states = await call_with_retry(self._runtime.registry, WorkerRegistry.list_all)
        checked = self._runtime.table.last_health_check
        return health_status(states, self._runtime.ring, checked, trio.current_time())

    async def check_health(self) -> HealthStatus:
        """Check every worker now with free requests, and return the status.

        Each check takes at most `Config.health_check_timeout` seconds. First all cooldowns are ended but those for a
        time that a server named: an operator who asks may have bought credit or installed a model. Cancelling ends
        the checks.
        """
        lift_cooldowns(self._runtime)
        await check_all(self._runtime)
        return await self.health_status()

    async def list_workers(self) -> Sequence[WorkerInfo]:
        """Return all workers, in the order in which they were added."""
        states = await call_with_retry(self._runtime.registry, WorkerRegistry.list_all)
        return tuple(worker_info(state, self._runtime.ring, trio.current_time()) for state in states)

    def explain(self, messages: Messages, **options: Unpack[ChatOptions]) -> str:
        """Return which workers `chat` would ask now, in which order, and why not the others. Sends nothing.

        Args:
            messages: as of `chat`.
            options: those of `ChatOptions`.

        Raises:
            InvalidRequest: an option is wrong.
        """
        chat = self._chat(messages, **options)
        evaluation = CallCandidates(self._runtime, chat.criteria).evaluate_all()
        able = without_unable(evaluation, chat.job, self._runtime.dialects)
        return explain(able, trio.current_time())

    def snapshot(self) -> Snapshot:
        """Return the gateway as it is now: tree, workers, API keys, connections, calls that wait, last attempts.

        Plain data without secrets. Synchronous and cheap: it sends nothing, and takes time in proportion to the number
        of workers and API keys. Call it in the Trio run of the gateway, also after the gateway was closed.
        `cortex_trio.telemetry.to_json` makes text of it.
        """
        return snapshot_of(self._runtime)

    @property
    def shared_limits(self) -> SharedLimits | None:
        """Limits that all processes with the same store use up together. None: the gateway has no store."""
        return None if self._runtime.sharing is None else self._runtime.sharing.limits

    @property
    def shared_totals(self) -> SharedTotals | None:
        """Sums over all processes with the same store. None: the gateway has no store."""
        return None if self._runtime.sharing is None else self._runtime.sharing.totals

    @property
    def aliases(self) -> Mapping[str, Sequence[str]]:
        """The aliases of the configuration, as it is now."""
        return self._runtime.config.aliases

    def tree(self) -> str:
        """Return a drawing of the supervision tree as it is now, with states and restarts."""
        return describe(self._runtime.root)

    @property
    def root(self) -> Ref[Supervisor]:
        """The address of the root supervisor, to monitor it or to call it."""
        return self._runtime.root

    def actor(self, name: str) -> Ref[Any]:
        """Return the address of an actor, to monitor it, or to test what happens when it dies.

        For example `cortex.actor("keys").kill()`.

        Args:
            name: "registry", "keys", "workers", "health", with a store "cluster", or the name of a worker.

        Raises:
            KeyError: there is no such actor.
        """
        runtime = self._runtime
        fixed: dict[str, Ref[Any]] = {
            ref.name: ref for ref in (runtime.registry, runtime.keys, runtime.workers, runtime.health)
        }
        if runtime.sharing is not None:
            fixed[runtime.cluster.name] = runtime.cluster
        return fixed[name] if name in fixed else runtime.table.workers[name].ref

    # -------------------------------------------------------------- changes

    async def add_worker(self, name: str, config: WorkerConfig | Mapping[str, Any]) -> None:
        """Add a worker. Cancelling has an effect only before it is added.

        Args:
            name: a new one.
            config: a WorkerConfig, or a mapping like those inside CORTEX_PROVIDERS, with times in milliseconds.

        Raises:
            ConfigError: the name is taken, or `config` is wrong.
        """
        try:
            checked = worker_config_from(worker_name(name), config, f"$.{name}")
        finally:
            del config  # a traceback with locals would show the keys
        await self._changes.add(name, checked)

    async def remove_worker(self, name: str, *, drain: float = 30.0) -> None:
        """Remove a worker: no request chooses it from now on. Returns when it is gone.

        Cancelling ends the wait for its requests, not the removal.

        Args:
            name: of the worker.
            drain: seconds that its requests have to end. After that their connections are closed.

        Raises:
            KeyError: there is no such worker, or it is being removed already.
        """
        await self._changes.remove(name, drain)

    async def reload(self, config: Config | Mapping[str, Any] | None = None, *, drain: float = 30.0) -> None:
        """Change to another configuration without dropping a stream.

        New workers are added first. Changed ones are changed in place: requests in flight end on the old connections.
        The others are removed as by `remove_worker`. A second reload waits for the first. Cancelling stops between
        two workers: what was changed stays changed.

        Args:
            config: as of `open_cortex`. None: read the environment again.
            drain: seconds that the requests of removed workers have to end.

        Raises:
            ConfigError: the configuration is wrong. Nothing was changed.
        """
        try:
            new = await _config_from(config)
        finally:
            del config  # a traceback with locals would show the keys
        await self._changes.change_to(new, drain)
