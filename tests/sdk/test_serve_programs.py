"""Programs that know nothing of us answer one prompt through the endpoint, with a failover behind it.

Each runs in a home of its own, with a made-up key and nothing but loopback. A program that is not on PATH is skipped.
"""

import json
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from cortex_trio.server.serving import Server, open_server
from cortex_trio.simulator import Behaviour, SimulatedProvider, Simulator, open_gateway

pytestmark = pytest.mark.slow

KEY = "sk-programs-0001-abcdef"
SAYS = "Hello from the second provider."
SECONDS = 90.0
ALIASES = {"fast": ["first/m-1", "second/m-1"]}


@asynccontextmanager
async def endpoint(
    sim: Simulator, first: str, second: str
) -> AsyncIterator[tuple[Server, SimulatedProvider]]:
    """An endpoint whose first provider is down; yields it and the second provider."""
    sim.add("first", Behaviour(status=503), provider=first, models=["m-1"])
    rescuer = sim.add("second", Behaviour(text=SAYS), provider=second, models=["m-1"])
    async with (
        open_gateway(sim, aliases=ALIASES) as cortex,
        open_server(cortex, keys=[KEY], grace=0.1) as server,
    ):
        yield server, rescuer


async def run(program: str, *arguments: str, home: Path, env: Mapping[str, str]) -> str:
    """Return what a program prints."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "NO_COLOR": "1", "TERM": "dumb", **env}
    with trio.fail_after(SECONDS):
        ended = await trio.run_process(
            [program, *arguments],
            env=environment,
            cwd=home,
            stdin=b"",
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    said = ended.stdout.decode(errors="replace") + ended.stderr.decode(errors="replace")
    assert ended.returncode == 0, said
    return said


def require(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on PATH")


@pytest.mark.parametrize("second", ["openai_responses", "anthropic", "gemini"])
async def test_codex(sim: Simulator, tmp_path: Path, second: str) -> None:
    """Tools that OpenAI itself runs are off: another provider cannot express them."""
    require("codex")
    async with endpoint(sim, "openai_responses", second) as (server, rescuer):
        config = tmp_path / ".codex" / "config.toml"
        config.parent.mkdir()
        config.write_text(
            f"""\
model = "fast"
model_provider = "cortex"
web_search = "disabled"

[model_providers.cortex]
name = "cortex-trio"
base_url = "{server.url}/v1"
env_key = "CORTEX_KEY"
wire_api = "responses"

[features]
multi_agent = false
"""
        )
        said = await run(
            "codex", "exec", "--skip-git-repo-check", "Say hello", home=tmp_path, env={"CORTEX_KEY": KEY}
        )
    assert SAYS in said
    assert rescuer.requests


@pytest.mark.parametrize("second", ["anthropic", "openai"])
async def test_claude_code(sim: Simulator, tmp_path: Path, second: str) -> None:
    require("claude")
    async with endpoint(sim, "anthropic", second) as (server, rescuer):
        env = {
            "ANTHROPIC_BASE_URL": server.url,
            "ANTHROPIC_AUTH_TOKEN": KEY,
            "ANTHROPIC_MODEL": "fast",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": "fast",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        said = await run("claude", "--print", "Say hello", home=tmp_path, env=env)
    assert SAYS in said
    assert rescuer.requests


@pytest.mark.parametrize("second", ["openai", "anthropic"])
async def test_opencode(sim: Simulator, tmp_path: Path, second: str) -> None:
    require("opencode")
    async with endpoint(sim, "openai_compatible", second) as (server, rescuer):
        provider = {
            "npm": "@ai-sdk/openai-compatible",
            "name": "cortex-trio",
            "options": {"baseURL": f"{server.url}/v1", "apiKey": "{env:CORTEX_KEY}"},
            "models": {"fast": {"name": "fast"}},
        }
        settings = {"provider": {"cortex": provider}, "autoupdate": False, "share": "disabled"}
        (tmp_path / "opencode.json").write_text(json.dumps(settings))
        said = await run(
            "opencode", "run", "--model", "cortex/fast", "Say hello", home=tmp_path, env={"CORTEX_KEY": KEY}
        )
    assert SAYS in said
    assert rescuer.requests


@pytest.mark.parametrize("second", ["openai", "anthropic"])
@pytest.mark.parametrize("options", [[], ["--no-stream"]], ids=["stream", "whole"])
async def test_llm(sim: Simulator, tmp_path: Path, second: str, options: Sequence[str]) -> None:
    require("llm")
    async with endpoint(sim, "openai_compatible", second) as (server, rescuer):
        (tmp_path / "extra-openai-models.yaml").write_text(
            f"""\
- model_id: cortex
  model_name: fast
  api_base: {server.url}/v1
  api_key_name: cortex
"""
        )
        env = {"LLM_USER_PATH": str(tmp_path)}
        arguments = ["-m", "cortex", "--key", KEY, *options, "Say hello"]
        said = await run("llm", *arguments, home=tmp_path, env=env)
    assert SAYS in said
    assert rescuer.requests


@pytest.mark.parametrize("second", ["openai", "anthropic"])
async def test_aider(sim: Simulator, tmp_path: Path, second: str) -> None:
    require("aider")
    async with endpoint(sim, "openai_compatible", second) as (server, rescuer):
        env = {
            "OPENAI_API_BASE": f"{server.url}/v1",
            "OPENAI_API_KEY": KEY,
            "AIDER_ANALYTICS": "false",
            "AIDER_CHECK_UPDATE": "false",
        }
        arguments = ["--model", "openai/fast", "--no-git", "--yes-always", "--no-show-model-warnings"]
        said = await run("aider", *arguments, "--message", "Say hello", home=tmp_path, env=env)
    assert SAYS in said
    assert rescuer.requests
