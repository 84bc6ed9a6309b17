"""What an attempt needs before it may send: a permit of the worker and the lease of an API key.

The caller makes both values itself, so there is always a task that can give them back: a call that is cancelled while
it asks for them settles what it may or may not have been granted.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import trio

from ...failures import Failure, FailureKind
from ...otp import ActorError
from ..routing.eligibility import Candidate
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

    While it is held, the connections of the endpoint are in use: a reload does not close them.
    """

    state: WorkerState
    endpoint: Endpoint
    permit: Permit
    lease: Lease
    started: float = attrs.field(factory=trio.current_time)  # Trio time

    def __attrs_post_init__(self) -> None:
        self.endpoint.connections.users += 1

    @property
    def key(self) -> ApiKey | None:
        """The leased API key; None for a worker without keys."""
        return self.lease.key

    def content_came(self, runtime: Runtime) -> None:
        """Record the first content: model, key and region are accepted, and a trial has succeeded.

        Other calls need not wait for the end of the stream, which may take minutes.
        """
        self.permit.has_content = True
        if self._learn(runtime, None):
            runtime.wait_queue.wake_all()
        elif self.permit.trial:
            runtime.wait_queue.permit_freed(self.state.name)

    def left_before_body(self, runtime: Runtime, failure: Failure) -> None:
        """Record the time that the server has named, although the caller left before the error body arrived.

        Args:
            runtime: the shared state.
            failure: what status and headers prove.
        """
        if failure.retry_after is not None:
            self._learn(runtime, failure)

    def settle(
        self,
        runtime: Runtime,
        failure: Failure | None,
        *,
        time_to_first_token: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Write the result where all calls read it, then send it to the actors. Synchronous; no crash loses it.

        Args:
            runtime: the shared state.
            failure: what went wrong; None if the request was served.
            time_to_first_token: in seconds; None if there was no content.
            headers: headers of the response that say something about limits; None if there was no response.
        """
        has_ended_cooldown = self._learn(runtime, failure)
        self.permit.headers, self.permit.time_to_first_token = headers, time_to_first_token
        self._give_back(runtime, failure)
        if has_ended_cooldown or self.permit.trial:
            runtime.wait_queue.wake_all()
        else:
            self._free_permit(runtime)

    def settle_unsent(self, runtime: Runtime) -> None:
        """Give back what was not used: nothing is learned from it, and the request is not counted."""
        self.permit.sent = False
        self._give_back(runtime, NOT_USED)
        self._free_permit(runtime)

    def _give_back(self, runtime: Runtime, failure: Failure | None) -> None:
        permit, lease = self.permit, self.lease
        permit.ended_at, permit.failure, permit.settled = trio.current_time(), failure, True
        self.state.ref.cast(Worker.settle, permit)
        lease.failure, lease.settled = failure, True
        runtime.keys.cast(KeyManager.report, lease)
        self.endpoint.connections.users -= 1

    def _free_permit(self, runtime: Runtime) -> None:
        """Wake one call if the permit was limited. One call may make the trial that was not made."""
        permit = self.permit
        if permit.admitted and (permit.trial or self.state.config.max_concurrency is not None):
            runtime.wait_queue.permit_freed(self.state.name)

    def _learn(self, runtime: Runtime, failure: Failure | None) -> bool:
        """Enter what this attempt proved into the table of cooldowns.

        It proves nothing about a worker that was removed or that uses another endpoint by now. But a time that the
        same server has named, for a key that is still used, counts.

        Returns:
            Whether it ended a cooldown, which other calls may wait for.
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
    """Get what an attempt at `candidate` needs. Cancelled, it gives back all that was granted.

    Args:
        runtime: the shared state.
        candidate: the worker to ask, and its endpoint.
        avoid: keys of the endpoint that must not be used.

    Returns:
        The admission, which the caller settles; or a Refusal if the worker may not be asked now.
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
            admission.settle_unsent(runtime)
    return admission if refusal is None else refusal


def _refusal(blocked: Blocked | None) -> Refusal | None:
    if blocked is None:
        return None
    reason = f"its API keys are cooling down after {blocked.kind.value}"
    return Refusal(reason, blocked.kind, blocked.until)
