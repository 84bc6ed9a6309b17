"""A nursery whose exceptions are not wrapped: a user of a server, a tree or a gateway catches what was raised."""

from types import TracebackType

import trio

from .errors import sole_exception

ExcInfo = tuple[type[BaseException] | None, BaseException | None, TracebackType | None]


class open_flat_nursery:  # noqa: N801, RUF100 - used like trio.open_nursery
    """Open a nursery from which a single exception comes out as it was raised; several stay a group.

    A single KeyboardInterrupt or SystemExit comes out as itself, however many nurseries have wrapped it. A group of
    Exceptions that a task raised is that task's own exception and stays a group.

    A class and not an @asynccontextmanager, because an interrupt may come between any two lines of that.
    """

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> trio.Nursery:
        self._manager = trio.open_nursery()
        return await self._manager.__aenter__()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(self, *exc_info: *ExcInfo) -> bool | None:
        try:
            return await self._manager.__aexit__(*exc_info)  # noqa: ASYNC102 - the nursery waits
        except BaseExceptionGroup as group:
            error = sole_exception(group)
            if isinstance(error, Exception) and len(group.exceptions) == 1:
                error = group.exceptions[0]  # a group that the task itself raised stays
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context  # `raise` has replaced it by what left the block
            del error, context  # the traceback of `error` holds this frame
