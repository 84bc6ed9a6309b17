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
REFUSING = "/status-400.code-context_length_exceeded"
"""Where a worker refuses: an error after which a gateway asks the next one, and learns nothing of the first."""


class Client(Protocol):
    async def stream(self, prompt: str, on_piece: OnPiece) -> None: ...

    async def whole(self, prompt: str) -> None: ...


class ClientModule(Protocol):
    BACKEND: str  # "trio" or "asyncio"

    def open_client(self, address: str, workload: Workload) -> AbstractAsyncContextManager[Client]: ...


NAMES = {
    "floor": "floor: a raw trio socket",
    "transport": "our connections, no gateway",
    "ours": "cortex_trio, the whole gateway",
    "ours_observed": "cortex_trio with an observer",
    "bare_httpx": "httpx, bare",
    "openai_sdk": "openai SDK on Trio, bare",
    "litellm_router": "LiteLLM Router",
    "litellm_acompletion": "LiteLLM acompletion",
    "pydantic_ai_fallback": "pydantic-ai FallbackModel",
    "tensorzero_embedded": "TensorZero embedded (Rust)",
}


def client_name(name: str) -> str:
    """As it stands in tables; known here, for the parent does not import what it measures."""
    return NAMES[name]


def client_module(name: str) -> ClientModule:
    """The file of that name. Raises ImportError where the library is not installed."""
    return cast("ClientModule", import_module(f"{__name__}.{name}"))
