"""Every program of docs/transports.md runs: its names lead to a proxy, a TLS server or a unix socket of a test."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trio
from certificates import CERTIFICATE, server_context
from fronts import open_proxy, serving, serving_unix, to_port
from test_readme import Block, blocks

from cortex_trio import Config
from cortex_trio.simulator import Behaviour, open_simulator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "transports.md"
BLOCKS = blocks(PAGE)
PROGRAMS = [block for block in BLOCKS if block.language == "python"]
PATIENCE_SECONDS = 60.0
NEEDS = {"import respx": "respx", "httpx_mock": "pytest_httpx", "http2=True": "h2"}
"""Packages that a program needs, by what it says."""


@pytest.mark.slow
@pytest.mark.parametrize("block", PROGRAMS, ids=str)
async def test_a_program_of_the_page_runs(block: Block, tmp_path: Path) -> None:
    for said, package in NEEDS.items():
        if said in block.text and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    async with open_simulator(sockets=True) as sim:
        provider = sim.add("ours", Behaviour(text="Good evening."), provider="openai_compatible")
        port = urlsplit(provider.url).port or 80
        path = tmp_path / "model.sock"
        demanding = server_context(client=CERTIFICATE if "load_cert_chain" in block.text else None)
        async with (
            serving(to_port(port), demanding) as secure,
            serving_unix(path, to_port(port)),
            open_proxy({"models.example": port}, user="me:password") as proxy,
        ):
            text = block.text
            for said, meant in {
                "@proxy.example:3128": f"@127.0.0.1:{proxy.port}",
                "https://models.example/v1": f"https://localhost:{secure}/v1",
                "/etc/ssl/our-ca.pem": str(CERTIFICATE),
                "/etc/ssl/our-client.pem": str(CERTIFICATE),
                "/run/model.sock": str(path),
            }.items():
                text = text.replace(said, meant)
            said, status = await run(text, tmp_path)
    assert status == 0, said
    assert "Good evening." in said or "1 passed" in said
    if "proxy=" in block.text:
        assert len(proxy.seen) == 1
    if "query=" in block.text:
        (request,) = provider.requests
        assert request.query == {"api-version": "2024-10-21"}
        assert request.headers["api-key"] == "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


async def run(program: str, folder: Path) -> tuple[str, int]:
    """Run it as it stands, with pytest if it is a test; gives what it printed and its exit status."""
    file = folder / "test_program.py"
    file.write_text(program, encoding="utf-8")
    pytest_options = ["-m", "pytest", "-q", "-o", "trio_mode=true", "--rootdir", str(folder)]
    command = [sys.executable, *(pytest_options if "def test_" in program else []), str(file)]
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with trio.fail_after(PATIENCE_SECONDS):
        ended = await trio.run_process(
            command, env=environ, capture_stdout=True, capture_stderr=True, check=False
        )
    return (ended.stdout + ended.stderr).decode(), ended.returncode


def test_the_json_of_the_page_is_a_configuration() -> None:
    (block,) = [block for block in BLOCKS if block.language == "json"]
    mapping = json.loads(block.text)
    assert list(Config.from_mapping(mapping).workers) == list(mapping)


def test_the_page_has_a_program_for_each_setting() -> None:
    assert len(PROGRAMS) == 9
