"""A nursery of our own must not show in what the user catches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_flat_nursery() -> AsyncIterator[trio.Nursery]:
    """Open a nursery from which a single exception comes out as it went in, not in a group of one.

    Several at once stay a group: none of them may be lost. A lone Ctrl-C comes out as KeyboardInterrupt, however
    deep among the actors it struck.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        error, *others = group.exceptions
        if others:
            raise
        while isinstance(error, BaseExceptionGroup) and not isinstance(error, ExceptionGroup):
            error, *others = error.exceptions
            if others:
                raise
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context  # `raise` made the group its context; the user never had that group
            del error, context
