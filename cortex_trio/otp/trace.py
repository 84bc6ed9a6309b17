"""The names of the messages a server handles, while it runs, to find a fault."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .mailbox import Message, name_of
from .ref import Ref
from .reports import guard


@contextmanager
def trace(ref: Ref[Any], write: Callable[[str], None] = print) -> Iterator[None]:
    """Write the name of every message just before it is handled: `call Counter.add`, `info Down`.

    What a message contains is not written. The trace goes on across restarts, until the block ends.

        with trace(counter):
            await counter.call(Counter.add, 2)

    Args:
        ref: the ref of the server.
        write: gets each name, in the task of the server, so it must be quick. What it raises is logged.
    """
    ref.tracers.append(write)
    try:
        yield
    finally:
        ref.tracers.remove(write)


def call_tracers(ref: Ref[Any], message: Message) -> None:
    """For `GenServer`: `message` is about to be handled."""
    what = getattr(message, "method", getattr(message, "act", getattr(message, "content", None)))
    for write in list(ref.tracers):
        guard(f"{ref.name}: a tracer", write, f"{type(message).__name__.lower()} {name_of(what)}")
