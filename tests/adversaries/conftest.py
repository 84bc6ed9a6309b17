"""A running llama-server, for the tests that need one."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import counting_model
import pytest
from counting_model import NAME
from llama_process import Llama, running


@pytest.fixture(scope="module")
def llama_program() -> str:
    """The path of llama-server."""
    found = os.environ.get("CORTEX_LLAMA")
    if found is None:
        pytest.skip("llama.cpp is not here: set CORTEX_LLAMA to the path of its llama-server")
    return found


@pytest.fixture(scope="module")
def llama_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / f"{NAME}.gguf"
    counting_model.write(path)
    return path


@pytest.fixture
async def llama(llama_program: str, llama_model: Path) -> AsyncIterator[Llama]:
    async with running(llama_program, llama_model) as server:
        yield server
