"""TensorZero's embedded gateway: a core in Rust, with a fallback configured, writing nothing down."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tensorzero import AsyncTensorZeroGateway

from ..workload import Workload
from . import KEY, MODEL, REFUSING, OnPiece

BACKEND = "asyncio"

_PROVIDER = """
[models.mock.providers.{name}]
type = "openai"
api_base = "{base}"
model_name = "{model}"
api_key_location = "env::BENCH_KEY"
"""
_CONFIG = """
[gateway]
observability.enabled = false
[models.mock]
routing = ["first", "second"]
"""


class Gateway:
    def __init__(self, gateway: Any) -> None:
        self._gateway = gateway

    async def _ask(self, prompt: str, *, stream: bool) -> Any:
        return await self._gateway.inference(
            model_name="mock", input={"messages": [{"role": "user", "content": prompt}]}, stream=stream
        )

    async def stream(self, prompt: str, on_piece: OnPiece) -> None:
        async for chunk in await self._ask(prompt, stream=True):
            if chunk.content and on_piece():
                break

    async def whole(self, prompt: str) -> None:
        assert (await self._ask(prompt, stream=False)).content


@asynccontextmanager
async def open_client(address: str, workload: Workload) -> AsyncIterator[Gateway]:
    os.environ["BENCH_KEY"] = KEY
    with tempfile.TemporaryDirectory() as folder:
        config = _write_config(folder, address, refusing=workload.refusing)
        building: Any = AsyncTensorZeroGateway.build_embedded(config_file=config)
        async with await building as gateway:
            yield Gateway(gateway)


def _write_config(folder: str, address: str, *, refusing: bool) -> str:
    first = f"{address}{REFUSING}/v1/" if refusing else f"{address}/v1/"
    providers = [("first", first), ("second", f"{address}/v1/")]
    texts = [_PROVIDER.format(name=name, base=base, model=MODEL) for name, base in providers]
    path = Path(folder, "tensorzero.toml")
    path.write_text("\n".join([_CONFIG, *texts]))
    return str(path)
