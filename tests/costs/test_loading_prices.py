"""Opening a gateway loads the list of prices in a thread: its import would stop every stream for 0.3 s."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
import threading

import trio
import trio.testing

from cortex_trio import open_cortex
from cortex_trio.costs import prices_are_pending

{setup}

async def main():
    async with open_cortex({{"one": {{"provider": "ollama", "models": ["m"]}}}}):
        {block}

trio.run(main)
"""
WAIT = """
        with trio.fail_after(30):
            while "genai_prices.data" not in sys.modules:
                await trio.sleep(0.01)
        print(prices_are_pending())
"""


def printed(setup: str, block: str) -> str:
    program = PROGRAM.format(setup=setup, block=block)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout.strip()


def test_a_gateway_loads_them_without_a_request() -> None:
    pytest.importorskip("genai_prices")
    assert printed("", WAIT) == "False"


def test_the_end_of_a_gateway_does_not_wait_for_them() -> None:
    """The import is abandoned: here it never ends."""
    setup = "import cortex_trio.gateway.startup as startup\n"
    setup += "startup.prices_are_pending, startup.load_prices = lambda: True, threading.Event().wait"
    assert printed(setup, "await trio.testing.wait_all_tasks_blocked(); print('closed')") == "closed"


def test_without_the_package_there_is_no_thread() -> None:
    setup = "sys.modules['genai_prices'] = None"
    block = "await trio.testing.wait_all_tasks_blocked(); print(threading.active_count())"
    assert printed(setup, block) == "1"
