"""docs/telemetry.md names every event and every metric, and its blocks of Python are valid."""

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

import cortex_trio
from cortex_trio.telemetry import Event

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_it_lists_exactly_the_events() -> None:
    cells = re.findall(r"^\| (`[^|]+) \|", section("Events"), re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(
        kind.__name__ for kind in get_args(Event)
    )


def test_every_event_of_the_gateway_can_be_imported_from_the_package() -> None:
    names = {kind.__name__ for kind in get_args(Event)} - {"Report"}  # of `cortex_trio.otp`
    assert names <= set(cortex_trio.__all__)


async def test_it_lists_exactly_the_metrics(autojump_clock: object) -> None:
    pytest.importorskip("prometheus_client", reason="needs prometheus_client (the extra `test` has it)")
    from watched import SERVED, watched

    from cortex_trio.telemetry.prometheus import Prometheus

    metrics = Prometheus()
    async with watched(metrics, openai=SERVED) as cortex:
        metrics.bind(cortex)
        found = {
            f"{family.name}_total" if family.type == "counter" else family.name
            for family in metrics.registry.collect()
        }
    assert set(re.findall(r"^\| `(\w+)` \|", section("Prometheus"), re.MULTILINE)) == found


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_a_block_of_python_is_valid(block: str) -> None:
    body = "".join(f"    {line}\n" for line in block.splitlines())
    ast.parse(f"async def example():\n{body}")
