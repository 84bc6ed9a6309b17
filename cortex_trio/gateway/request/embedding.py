"""Embeddings: one request after the other until there is a vector for each text. Knows no option of the user."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from ...events import Embeddings, Usage, Vectors
from ..routing.eligibility import Criteria
from ..runtime import Runtime
from .call import Call
from .failover import Failover
from .jobs import EmbedJob
from .options import CallLimits


async def embed_all(runtime: Runtime, call: Call, jobs: Sequence[EmbedJob], criteria: Criteria) -> Embeddings:
    """Return the vectors of all jobs, in order. Cancelling closes the connection. Raises as `Failover.open`.

    Args:
        runtime: the shared state.
        call: that the requests belong to.
        jobs: the texts of each request.
        criteria: which workers may be asked.
    """
    vectors: list[Sequence[float]] = []
    usage = Usage()
    worker = provider = model = ""
    for job in jobs:
        failover = Failover(runtime, call, job, criteria, CallLimits())
        async with aclosing(await failover.open()) as attempt:
            result = next(event for event in attempt.held if isinstance(event, Vectors))
            state, model = attempt.candidate.state, attempt.candidate.model
            worker, provider = state.name, state.kind.name
        vectors += result.vectors
        usage += result.usage or Usage()
    return Embeddings(
        vectors, model, worker, provider, usage, tuple(call.attempts), cost=call.spending.cost, call=call.id
    )
