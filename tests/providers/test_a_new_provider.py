"""What it costs to add a provider that speaks a known dialect: one file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "cortex_trio"

PROVIDER = '''"""Example: chat completions."""

from ..wire.chat_completions.dialect import ChatCompletions
from ..wire.codec import HttpRequest
from .provider import Provider

EXAMPLE = Provider(
    name="example",
    base_url="https://api.example.com/v1",
    dialect=ChatCompletions(max_tokens_field="max_tokens"),
    priority=35,
    health=HttpRequest("GET", "/models"),
    models=HttpRequest("GET", "/models"),
    env=("EXAMPLE",),
    default_models=("example-large",),
)
'''

PROGRAM = """
import trio
from cortex_trio import Config, open_cortex
from cortex_trio.simulator import open_simulator

async def main():
    workers = Config.from_env({"EXAMPLE_API_KEY": "sk-1234567890"}).workers
    print(*workers)
    async with open_simulator() as sim:
        sim.add("example")
        async with open_cortex(sim.config(), http_transport=sim.transport) as cortex:
            reply = await cortex.complete("Hi")
            print(reply.provider, reply.model, reply.text)

trio.run(main)
"""


@pytest.mark.slow
def test_a_provider_is_one_file_and_no_other_edit(tmp_path: Path) -> None:
    """The environment, the configuration, the gateway and the simulator find it."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / PACKAGE.name / "providers" / "example.py").write_text(PROVIDER)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["example", "example example-large Hello from the simulator."]
