"""What a try needs before it may send: a permit of the worker and the lease of a key.

Both are slips of the caller's own making, so there is always somebody who can give them back: a caller
that is cancelled in the middle of asking settles what it may or may not have been granted.
"""

from __future__ import annotations

import attrs
import trio

from ..failures import Failure, FailureKind
from ..otp import ActorError
from .calls import FIRST_PAUSE_SECONDS, patiently
from .keys import Blocked, KeyManager, Lease
from .runtime import Runtime
from .secrets import ApiKey
from .selection import Candidate
from .worker import Permit, Refusal, Worker, WorkerState

CHANGE_LOOKS = 10
"""A change of a worker's keys and of its address is two messages; this often its end is waited for, up to a second."""
NOT_USED = Failure(FailureKind.CANCELLED, "nothing was sent")


@attrs.frozen
class Slips:
    """A permit and a lease: what one try holds, and gives back exactly once."""

    state: WorkerState
    permit: Permit
    lease: Lease

    @property
    def key(self) -> ApiKey | None:
        return self.lease.key


async def check_out(
    runtime: Runtime, candidate: Candidate, avoid: frozenset[ApiKey] = frozenset()
) -> Slips | Refusal:
    """Get what a try at `candidate` needs, with a key not in `avoid`; or say why it may not be had now.

    The key is one of the worker's configuration at the moment of the return: one that a reload brings must not go to
    the address it replaces, nor the other way about. Cancelled, it leaves nothing behind.
    """
    for look in range(CHANGE_LOOKS):
        slips = await _check_out(runtime, candidate, avoid)
        if isinstance(slips, Refusal) or candidate.state.has(slips.key):
            return slips
        give_back_unused(runtime, slips)
        await trio.sleep(FIRST_PAUSE_SECONDS * 2**look)
    return Refusal("is being changed")


async def _check_out(runtime: Runtime, candidate: Candidate, avoid: frozenset[ApiKey]) -> Slips | Refusal:
    state = candidate.state
    lease = Lease(state.name, candidate.model)
    slips = Slips(state, Permit(state.name, candidate.model), lease)
    granted = False
    try:
        refusal = await patiently(state.ref, Worker.admit, slips.permit)
        if refusal is None:
            refusal = _refusal(await patiently(runtime.keys, KeyManager.lease, lease, avoid))
        granted = refusal is None
    except ActorError as error:
        refusal = Refusal(f"cannot be asked: its actor is down ({type(error).__name__})", FailureKind.CRASHED)
    finally:
        if not granted:
            give_back_unused(runtime, slips)
    return slips if refusal is None else refusal


def _refusal(blocked: Blocked | None) -> Refusal | None:
    if blocked is None:
        return None
    return Refusal(f"has no key to use ({blocked.kind.value})", blocked.kind, blocked.until)


def give_back_unused(runtime: Runtime, slips: Slips) -> None:
    """Nothing was sent: nobody learns from it, and it is not counted."""
    slips.permit.sent = False
    give_back(runtime, slips, NOT_USED)


def give_back(
    runtime: Runtime, slips: Slips, failure: Failure | None, time_to_first_token: float | None = None
) -> None:
    """Write on the slips what came of the try, then tell their keepers. Synchronous, and lost by no crash."""
    permit, lease = slips.permit, slips.lease
    permit.ended_at = lease.ended_at = trio.current_time()
    permit.failure, permit.time_to_first_token, permit.settled = failure, time_to_first_token, True
    slips.state.ref.cast(Worker.settle, permit)
    lease.failure, lease.settled = failure, True
    runtime.keys.cast(KeyManager.report, lease)
