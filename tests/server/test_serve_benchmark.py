"""The benchmark of the endpoint runs."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the benchmark reads /proc")
def test_the_benchmark_of_the_endpoint_runs() -> None:
    command = [sys.executable, "-m", "benchmarks.serve", "--quick"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    for line in (
        "| not streamed |",
        "| streamed, 50 events |",
        "| memory of an open stream |",
        "| two processes |",
        "| CPU per streamed request of the server alone, to uvicorn + Starlette |",
    ):
        assert line in ended.stdout
