"""The clients that are compared. Each file has `BACKEND` and `open_client(address, workload)`.

A client has `stream(prompt, on_piece)`, which calls `on_piece` for every piece of text and leaves the stream as
soon as it answers True, and `whole(prompt)`, one answer that is not streamed. Options that a library has for
speed are used; what it does by default for safety is left on.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Protocol, cast

from ..workload import Workload

OnPiece = Callable[[], bool]
KEY = "sk-bench-0123456789abcdef0123456789abcdef"
MODEL = "mock-model"


class Client(Protocol):
    async def stream(self, prompt: str, on_piece: OnPiece) -> None: ...

    async def whole(self, prompt: str) -> None: ...


class ClientModule(Protocol):
    BACKEND: str  # "trio" or "asyncio"
    NAME: str  # as it stands in the tables

    def open_client(self, address: str, workload: Workload) -> AbstractAsyncContextManager[Client]: ...


def client_module(name: str) -> ClientModule:
    """The file of that name. Raises ImportError where the library is not installed."""
    return cast("ClientModule", import_module(f"{__name__}.{name}"))
