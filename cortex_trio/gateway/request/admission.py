"""What an attempt needs before it may send: a permit of the worker and the lease of a key.

The caller makes both itself, so there is always a task that can give them back: one that is cancelled in the middle of
asking settles what it may or may not have been granted.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio

from ...failures import Failure, FailureKind
from ...otp import ActorError
from ..routing.selection import Candidate
from ..runtime import Runtime
from ..settings.secrets import ApiKey
from ..workers.calls import call_with_retry
from ..workers.endpoint import Endpoint
from ..workers.keys import Blocked, KeyManager, Lease
from ..workers.worker import Permit, Refusal, Worker, WorkerState

NOT_USED = Failure(FailureKind.CANCELLED, "nothing was sent")


@attrs.define(eq=False)
class Admission:
    """A permit and a lease: what one attempt holds, and gives back exactly once.

    While it is held, the endpoint's connections are in use: a reload does not close them.
    """

    state: WorkerState
    endpoint: Endpoint
    permit: Permit
    lease: Lease
    started: float = attrs.field(factory=trio.current_time)

    def __attrs_post_init__(self) -> None:
        self.endpoint.connections.users += 1

    @property
    def key(self) -> ApiKey | None:
        return self.lease.key

    def content_came(self, runtime: Runtime) -> None:
        """The first content is here: model, key and region are accepted, and a trial succeeds as far as can be seen.

        Other calls need not wait for the end of the stream, which may take minutes.
        """
        self.permit.has_content = True
        if self._learn(runtime, None):
            runtime.openings.changed()
        elif self.permit.trial:
            runtime.openings.place_freed(self.state.name)

    def settle(
        self,
        runtime: Runtime,
        failure: Failure | None,
        *,
        time_to_first_token: float | None = None,
        headers: Mapping[str, str] | None = None,
        sent: bool = True,
    ) -> None:
        """Write the result where all calls read it, then tell the actors. Synchronous, and lost by no crash.

        `sent=False`: nothing was sent, so nothing is learnt and the request is not counted.
        """
        permit, lease, state = self.permit, self.lease, self.state
        opened = sent and self._learn(runtime, failure)
        permit.ended_at, permit.sent, permit.headers = trio.current_time(), sent, headers
        permit.failure, permit.time_to_first_token, permit.settled = failure, time_to_first_token, True
        state.ref.cast(Worker.settle, permit)
        lease.failure, lease.settled = failure, True
        runtime.keys.cast(KeyManager.report, lease)
        self.endpoint.connections.users -= 1
        limited = permit.trial or state.config.max_concurrency is not None
        if opened or (permit.trial and sent):
            runtime.openings.changed()
        elif permit.admitted and limited:
            # Of a trial that was not made nothing is known: one call may make it.
            runtime.openings.place_freed(state.name)

    def _learn(self, runtime: Runtime, failure: Failure | None) -> bool:
        """Enter what this attempt proved; return whether it ended a cooldown, which other calls may wait for.

        It proves nothing of a worker that was removed, or goes on at another endpoint. But a time that the same
        server has named, for a key that is still used, counts.
        """
        if runtime.table.workers.get(self.state.name) is not self.state:
            return False
        if self.permit.is_stale and not self._is_asked_to_wait(failure):
            return False
        cooldowns, model = runtime.cooldowns, self.permit.model
        if failure is None:
            return cooldowns.served(
                self.state.name, model, self.key, started=self.started, now=trio.current_time()
            )
        cooldowns.failed(
            self.state.name,
            model,
            self.key,
            failure,
            started=self.started,
            now=trio.current_time(),
            has_more_keys=len(self.endpoint.keys) > 1,
        )
        return False

    def _is_asked_to_wait(self, failure: Failure | None) -> bool:
        endpoint = self.state.endpoint
        is_known = self.key is None or self.key in endpoint.keys
        hinted = failure is not None and failure.retry_after is not None
        return hinted and is_known and endpoint.is_same_server(self.endpoint)


async def check_out(
    runtime: Runtime, candidate: Candidate, avoid: frozenset[ApiKey] = frozenset()
) -> Admission | Refusal:
    """Get what an attempt at `candidate` needs, with a key of its endpoint that is not in `avoid`.

    Returns a Refusal if it may not be asked now. Cancelled, it leaves nothing behind.
    """
    state, endpoint = candidate.state, candidate.endpoint
    lease = Lease(state.name, candidate.model, endpoint.keys)
    admission = Admission(state, endpoint, Permit(state.name, candidate.model), lease)
    granted = False
    try:
        refusal = await call_with_retry(state.ref, Worker.admit, admission.permit)
        if refusal is None:
            refusal = _refusal(await call_with_retry(runtime.keys, KeyManager.lease, lease, avoid))
        granted = refusal is None
    except ActorError as error:
        refusal = Refusal(f"its actor is down ({type(error).__name__})", FailureKind.CRASHED)
    finally:
        if not granted:
            give_back_unused(runtime, admission)
    return admission if refusal is None else refusal


def _refusal(blocked: Blocked | None) -> Refusal | None:
    if blocked is None:
        return None
    reason = f"its API keys are cooling down after {blocked.kind.value}"
    return Refusal(reason, blocked.kind, blocked.until)


def give_back_unused(runtime: Runtime, admission: Admission) -> None:
    """Nothing was sent: nothing is learnt from it, and it is not counted."""
    admission.settle(runtime, NOT_USED, sent=False)
