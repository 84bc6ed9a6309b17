"""A nursery whose exceptions are not wrapped: a user of a server, a tree or a gateway catches what was raised."""

from types import TracebackType

import trio


class open_flat_nursery:  # noqa: N801, RUF100 - used like trio.open_nursery
    """Open a nursery from which a single exception comes out as it was raised; several stay a group.

    A single KeyboardInterrupt or SystemExit comes out as itself, however many nurseries of the tree have wrapped it.
    A group of Exceptions that a task raised is that task's own exception and stays a group.

    A class and not an @asynccontextmanager, because an interrupt may come between any two lines of that.
    """

    def __init__(self) -> None:
        self._manager = trio.open_nursery()

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> trio.Nursery:
        return await self._manager.__aenter__()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            return await self._manager.__aexit__(exc_type, exc, traceback)  # noqa: ASYNC102 - the nursery waits
        except BaseExceptionGroup as group:
            error = _sole_exception(group)
            if error is group:
                raise
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context  # `raise` made it what had left the block
            del error, context  # the traceback of `error` holds this frame


def _sole_exception(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in `group`, or the group that has several."""
    if len(group.exceptions) > 1:
        return group
    error = group.exceptions[0]
    if isinstance(error, BaseExceptionGroup) and not isinstance(error, ExceptionGroup):
        return _sole_exception(error)
    return error
