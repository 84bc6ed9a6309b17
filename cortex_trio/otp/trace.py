"""Which messages a server handles, by name, while it runs. For people who look for a fault."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .mailbox import Message, name_of
from .ref import Ref
from .reports import guard


@contextmanager
def trace(ref: Ref[Any], tell: Callable[[str], None] = print) -> Iterator[None]:
    """Tell the name of every message just before it is handled, in all incarnations: `call Counter.add`, `info Down`.

    Never what a message carries. `tell` is called in the server's task: it must be quick, and what it raises is
    logged.

        with trace(counter):
            await counter.call(Counter.add, 2)
    """
    ref.tracers.append(tell)
    try:
        yield
    finally:
        ref.tracers.remove(tell)


def tell_tracers(ref: Ref[Any], message: Message) -> None:
    """For `GenServer`: this message is about to be handled."""
    what = getattr(message, "method", getattr(message, "act", getattr(message, "content", None)))
    for tell in list(ref.tracers):
        guard(f"{ref.name}: a tracer", tell, f"{type(message).__name__.lower()} {name_of(what)}")
