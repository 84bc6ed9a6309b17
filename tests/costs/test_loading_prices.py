"""The first request loads the list of prices in a thread: its import would stop every stream for 0.3 s."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import logging
import sys
import threading

import trio
import trio.testing

from cortex_trio import AllWorkersFailed, open_cortex
from cortex_trio.costs import prices_are_pending

logging.disable()  # the request fails
{setup}

async def main():
    worker = {{"provider": "ollama", "models": ["m"], "base_url": "http://127.0.0.1:1"}}
    async with open_cortex({{"one": worker, "$settings": {{"prices": {prices}}}}}) as cortex:
        {block}

trio.run(main)
"""
REQUEST = """
        try:
            await cortex.complete("Hi")
        except AllWorkersFailed:
            pass
"""
WAIT = """
        with trio.fail_after(30):
            while "genai_prices.data" not in sys.modules:
                await trio.sleep(0.01)
        print(prices_are_pending())
"""


def printed(setup: str, block: str, prices: str = "{}") -> str:
    program = PROGRAM.format(setup=setup, block=block, prices=prices)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout.strip()


def test_the_first_request_loads_them() -> None:
    pytest.importorskip("genai_prices")
    assert printed("", REQUEST + WAIT) == "False"


NOT_LOADED = """
        await trio.testing.wait_all_tasks_blocked()
        print(threading.active_count(), "genai_prices" in sys.modules)
"""


def test_a_gateway_without_requests_does_not_load_them() -> None:
    assert printed("", NOT_LOADED) == "1 False"


def test_a_request_with_a_price_of_its_own_does_not_load_them() -> None:
    assert printed("", REQUEST + NOT_LOADED, '{"m": {"input": 1, "output": 2}}') == "1 False"


def test_the_end_of_a_gateway_does_not_wait_for_them() -> None:
    """The import is abandoned: here it never ends."""
    setup = "import cortex_trio.gateway.startup as startup\n"
    setup += "startup.prices_are_pending, startup.load_prices = lambda: True, threading.Event().wait"
    block = REQUEST + "        await trio.testing.wait_all_tasks_blocked(); print('closed')"
    assert printed(setup, block) == "closed"


def test_without_the_package_there_is_no_thread() -> None:
    setup = "sys.modules['genai_prices'] = None"
    assert (
        printed(setup, REQUEST + NOT_LOADED.replace('"genai_prices" in', '"genai_prices.data" in'))
        == "1 False"
    )
