"""The routes of the server that answer as an API does: which operation a request is, and what it gets.

Made from a gateway. Knows no socket, no key and no limit; an exchange sends what it decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import attrs
import trio

from ...errors import ProviderError
from ...failures import CortexError, Failure, FailureKind, InvalidRequest
from ...gateway.cortex import Cortex
from ...gateway.request.options import ChatOptions
from ...gateway.routing.eligibility import Target
from ...wire.server import Operation, Rejected
from ..exchange import Exchange, Headers, ServedRequest
from ..limits_protocol import ClientLimits, ErrorKind
from .answers import Asked, Interruption, forwarded_body, send_answer, tokens_of, worker_headers
from .errors import call_error, failure_of, plain, server_error
from .inbound import Inbound, read_request
from .ingress import Ingress, ingress_of, route_of
from .tokens import estimate

TIME_LIMITS = ("x-stainless-timeout", "x-stainless-read-timeout")
"""How long an official SDK waits, in seconds."""

TRACE_HEADERS = ("traceparent", "tracestate")
"""They name the client's span, which becomes the parent of ours."""
TRACE_LIMIT = 512
"""Characters of each that are kept: what W3C asks of a tracestate."""


@final
class ApiRoutes:
    """Answers requests in the APIs that clients speak. It has no state.

    Args:
        cortex: The gateway that is asked.
    """

    def __init__(self, cortex: Cortex) -> None:
        self._cortex = cortex

    def serves(self, method: str, path: str) -> bool:
        """Return whether there is a route for this method and path."""
        return route_of(method, path) is not None

    def error(
        self,
        path: str,
        kind: ErrorKind,
        message: str,
        *,
        sent: Headers = (),
        retry_after: float | None = None,
    ) -> tuple[int, Headers, bytes]:
        """Return the status, headers and body of an error, in the shape of the API that the path belongs to.

        Args:
            path: Of the request; it need not be served.
            sent: The headers of the request.
            kind: What is wrong.
            message: Says it to a developer.
            retry_after: Seconds until a retry makes sense. None: unknown, or never.
        """
        return server_error(ingress_of(path, dict(sent)), kind, message, retry_after=retry_after)

    async def answer(self, request: ServedRequest, exchange: Exchange, client: ClientLimits | None) -> None:
        """Send the response to one request. Cancelling closes the connection to the provider.

        Args:
            request: One that `serves`.
            exchange: Sends the response.
            client: The virtual key that the request came with. None: there are no limits.

        Raises:
            trio.BrokenResourceError: The client has left.
        """
        ingress = ingress_of(request.path, request.first_headers)
        try:
            inbound = read_request(ingress, request)
        except Rejected as rejected:
            await exchange.respond(*plain(rejected.response))
            return
        if inbound.parsed.operation is Operation.MODELS:
            await self._list(inbound, exchange, client)
        elif client is not None and not client.allows(inbound.model):
            message = f"this API key may not use the model {inbound.model!r:.100}"
            await exchange.respond(*server_error(ingress, ErrorKind.MODEL_NOT_ALLOWED, message))
        else:
            await self._answer(_Request(ingress, inbound, request, exchange, client))

    async def _answer(self, asked: _Request) -> None:
        name = asked.inbound.model
        # A name that is not printable would have no place in a header or an address.
        target = self._cortex.meaning(name) if name.isprintable() else None
        if target is None:
            await self._send_unknown(asked)
            return
        match asked.inbound.parsed.operation:
            case Operation.MODEL:
                await _send_listing(asked.inbound, asked.exchange, [name])
            case Operation.EMBED if not asked.inbound.parsed.tokens:
                await self._embed(asked, target)
            case Operation.COUNT:
                await self._count(asked, target)
            case _:
                await self._chat(asked, target)

    # -------------------------------------------------------------- chats

    async def _chat(self, asked: _Request, target: Target) -> None:
        with trio.CancelScope(deadline=trio.current_time() + asked.seconds) as limit:
            await self._ask(asked, target, limit)
        if limit.cancelled_caught and not asked.exchange.has_begun:
            late = Failure(
                FailureKind.STALLED, f"no answer within the client's {asked.seconds:g} s", ours=True
            )
            await asked.send_error(ProviderError(late, "the server"))

    async def _ask(self, asked: _Request, target: Target, limit: trio.CancelScope) -> None:
        answer = self._cortex.forward(asked.inbound.forward_request(), **asked.options(target))
        try:
            await send_answer(Asked(asked.inbound, asked.exchange, answer, asked.interruption, limit))
        except CortexError as error:
            if asked.exchange.has_begun:
                raise
            inbound = asked.inbound
            if isinstance(error, InvalidRequest) and inbound.has_small_limit and not inbound.raises_limit:
                # Nothing was sent. Clients probe with one token, and want an answer more than the limit.
                inbound.raises_limit = True
                await self._ask(asked, target, limit)
            else:
                await asked.send_error(error)
        finally:
            if asked.client is not None:
                asked.client.charge(tokens=tokens_of(answer.attempts), usd=answer.cost)

    # -------------------------------------------------------------- the others

    async def _embed(self, asked: _Request, target: Target) -> None:
        inbound, parsed = asked.inbound, asked.inbound.parsed
        try:
            found = await self._cortex.embed(
                list(parsed.texts),
                model=target.model,
                provider=target.provider,
                worker=target.worker,
                dimensions=parsed.dimensions,
                tags=asked.tags,
            )
        except CortexError as error:
            await asked.send_error(error)
            return
        tokens = tokens_of(found.attempts) or estimate(list(parsed.texts))  # some providers count none
        if asked.client is not None:
            asked.client.charge(tokens=tokens, usd=found.cost)
        parsed = attrs.evolve(parsed, model=found.model, prompt_tokens=tokens)
        body = inbound.ingress.server.render_embeddings(parsed, found)
        by = worker_headers(found.worker, found.model, len(found.attempts), None)
        await asked.exchange.respond(200, (JSON, *by), body)

    async def _count(self, asked: _Request, target: Target) -> None:
        """Ask a worker that counts; without one, estimate, and say so."""
        options = asked.options(target)
        options["max_wait"] = 0  # an estimate now is worth more than a count later
        options["on_interrupt"] = "buffer"
        try:
            async with self._cortex.forward(asked.inbound.count_request(), **options) as answer:
                body = await forwarded_body(answer)
        except CortexError as error:
            failure = failure_of(error)
            if failure is not None and failure.kind is FailureKind.BAD_REQUEST:
                await asked.send_error(error)
            else:
                await self._estimate(asked)
            return
        assert body is not None  # it is never translated
        by = worker_headers(answer.worker, answer.model, len(answer.attempts), answer.overhead)
        await asked.exchange.respond(200, (JSON, *by), body)

    async def _estimate(self, asked: _Request) -> None:
        assert asked.inbound.raw is not None  # `parse` refuses a count without a body
        parsed = attrs.evolve(asked.inbound.parsed, prompt_tokens=estimate(asked.inbound.raw.value))
        body = asked.inbound.ingress.server.render_listing(parsed, ())
        await asked.exchange.respond(200, (JSON, ("x-cortex-estimate", "true")), body)

    async def _list(self, inbound: Inbound, exchange: Exchange, client: ClientLimits | None) -> None:
        workers = await self._cortex.list_workers()
        models = (model for worker in workers for model in worker.models)
        names = dict.fromkeys((*self._cortex.aliases, *models))
        await _send_listing(inbound, exchange, [n for n in names if client is None or client.allows(n)])

    async def _send_unknown(self, asked: _Request) -> None:
        name, server = asked.inbound.model, asked.inbound.ingress.server
        message = f"there is no model {name!r:.100} here; GET /v1/models lists those that there are"
        parsed = asked.inbound.parsed
        response = server.failure(FailureKind.MODEL_NOT_FOUND, parsed, message=message, status=404)
        await asked.exchange.respond(*plain(response))


JSON = ("content-type", "application/json")


async def _send_listing(inbound: Inbound, exchange: Exchange, models: Sequence[str]) -> None:
    await exchange.respond(200, (JSON,), inbound.ingress.server.render_listing(inbound.parsed, models))


@final
@attrs.frozen
class _Request:
    """One request that was read, and where its response goes."""

    ingress: Ingress
    inbound: Inbound
    request: ServedRequest
    exchange: Exchange
    client: ClientLimits | None

    @property
    def interruption(self) -> Interruption:
        """What the client wants if its stream breaks off."""
        match (self.request.header("x-cortex-on-interrupt") or "").strip().lower():
            case "restart":
                return "restart"
            case "continue":
                return "continue"
            case _:
                return "raise"

    @property
    def seconds(self) -> float:
        """How long the client waits for the answer to begin, or to be whole if it is not streamed."""
        return min((_seconds(self.request.header(name)) for name in TIME_LIMITS), default=math.inf)

    @property
    def tags(self) -> dict[str, str]:
        """What observers learn about the client."""
        tags = {"request": self.request.id}
        if self.client is not None:
            tags["client"] = self.client.name
        for name in TRACE_HEADERS:
            if value := self.request.header(name):
                tags[name] = value[:TRACE_LIMIT]
        return tags

    def options(self, target: Target) -> ChatOptions:
        """Return the options of the call."""
        return ChatOptions(
            model=target.model,
            provider=target.provider,
            worker=target.worker,
            on_interrupt=self.interruption if self.inbound.streams else "buffer",
            tags=self.tags,
        )

    async def send_error(self, error: CortexError) -> None:
        """Send an error of a call."""
        inbound = self.inbound
        await self.exchange.respond(*call_error(inbound.ingress.server, inbound.parsed, error))


def _seconds(text: str | None) -> float:
    try:
        seconds = float(text or "inf")
    except ValueError:
        return math.inf
    return seconds if seconds > 0 else math.inf
