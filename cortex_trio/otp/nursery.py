"""A nursery of ours must not show in what a user catches: neither around a server nor around a tree."""

from typing import Any

import trio


class open_flat_nursery:  # noqa: N801, RUF100 - used like trio.open_nursery
    """Open a nursery from which one exception comes out as it went in; several at once stay a group.

    A class and not an @asynccontextmanager: an interrupt may come between any two lines of that.
    """

    def __init__(self) -> None:
        self._manager = trio.open_nursery()

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> trio.Nursery:
        return await self._manager.__aenter__()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(self, *exc_info: Any) -> bool | None:
        raised: list[BaseException] = []
        try:
            return await self._manager.__aexit__(*exc_info)  # noqa: ASYNC102 - it is the nursery that waits
        except BaseExceptionGroup as group:
            raised.extend(group.exceptions)
            if len(raised) > 1:
                raise
        raise raised.pop()  # not from a variable: that would hold it in this frame, and it holds this frame
