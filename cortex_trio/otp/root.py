"""Where a tree meets the program around it: its cancellation, its nursery, its exceptions."""

from __future__ import annotations

import trio

from .errors import ActorExited
from .process import Process
from .reasons import error_of, is_abnormal
from .ref import Ref
from .supervisor import Supervisor


async def run(
    root: Supervisor,
    *,
    ref: Ref[Supervisor] | None = None,
    task_status: trio.TaskStatus[Ref[Supervisor]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a tree under the caller's cancellation: `ref = await nursery.start(run, root)`.

    Returns on orderly shutdown. Raises StartFailed or MaxRestartsExceeded (not wrapped; your nursery will wrap it),
    and ActorExited if the root itself was killed. Cancelling it stops the tree in order and only then lets
    Cancelled go on: that takes as long as the children's `shutdown` allows, whatever deadline cancelled it.
    A supervisor object runs once; build a new one to run the tree again.
    """
    ref = Ref("root") if ref is None else ref
    async with trio.open_nursery() as nursery:
        process = Process(ref, lambda: root, nursery, None)
        process.scope.shield = False  # the root, alone of all processes, obeys its surroundings
        nursery.start_soon(process.run, name=ref.name)
        await process.started.wait()
        if process.initialised:
            task_status.started(ref)
    assert process.reason is not None  # its nursery is closed
    error = error_of(process.reason)
    if error is None and is_abnormal(process.reason):
        error = ActorExited(ref.name, process.reason, started=True)
    if error is not None:
        raise error
