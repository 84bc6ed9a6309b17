"""The live page as a browser shows it. Needs Chromium; set CORTEX_PICTURES to a folder to keep the pictures."""

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from chromium import Browser, find_chromium, open_chromium

from cortex_trio import Config, Cortex, CortexError, FailureKind, open_cortex
from cortex_trio.simulator import Behaviour, Simulator, open_simulator
from cortex_trio.telemetry.page import open_observer_page

CHROMIUM = find_chromium()
OVERLOADED = Behaviour(error=FailureKind.OVERLOADED)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]


@attrs.frozen
class Setup:
    sim: Simulator
    cortex: Cortex
    browser: Browser
    pictures: Path


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[Setup]:
    assert CHROMIUM is not None
    pictures = Path(os.environ.get("CORTEX_PICTURES", tmp_path))
    async with open_simulator() as sim:
        sim.add("openai")
        sim.add("groq", Behaviour(status=429, retry_after=40))
        sim.add("anthropic", OVERLOADED)
        sim.add("ollama")
        config = Config(
            workers={name: provider.worker() for name, provider in sim.providers.items()},
            health_check_interval=0,
        )
        async with open_cortex(config, http_transport=sim.transport) as cortex:
            async with open_chromium(CHROMIUM, tmp_path / "profile") as browser:
                yield Setup(sim, cortex, browser, pictures)


async def break_things(setup: Setup) -> None:
    """Some answers, an outage of anthropic, a key of groq that cools down, an actor that was killed."""
    for worker in ("openai", "ollama") * 6:
        await setup.cortex.complete("Hi", worker=worker)
    for worker in ("groq", *["anthropic"] * 6):
        with pytest.raises(CortexError):
            await setup.cortex.complete("Hi", worker=worker, max_wait=0)
    setup.cortex.actor("ollama").kill()


async def test_the_page_shows_the_tree_a_failing_worker_and_a_countdown(tmp_path: Path) -> None:
    async with opened(tmp_path) as setup, open_observer_page(setup.cortex) as page:
        await break_things(setup)
        browser = setup.browser
        await browser.open(page.url)
        await browser.wait_for("2 of 4 workers available")
        cards = await browser.text("#workers")
        assert re.search(r"anthropic\s+unavailable: overloaded, \d+ s", cards)
        assert re.search(r"openai\s+available", cards)
        assert re.search(r"groq\s+rate limited, \d+ s", cards)
        assert "3× anthropic overloaded 529" in await browser.text("#failures")
        assert re.search(r"ollama running 1 restart", await browser.text("#tree"))
        first = countdown(await browser.text("#cooldowns"))
        assert 30 <= first <= 40
        for scheme in ("light", "dark"):
            await browser.prefer(scheme)
            await browser.picture(setup.pictures / f"page-{scheme}.png")
        await browser.resize(390, 844, mobile=True)
        await browser.picture(setup.pictures / "page-phone.png")
        assert await browser.value("document.documentElement.scrollWidth") <= 390
        while countdown(await browser.text("#cooldowns")) >= first:  # noqa: ASYNC110 - the browser sends no event
            await trio.sleep(0.05)
        assert browser.problems == []


async def test_the_page_says_that_the_connection_was_lost_and_is_back(tmp_path: Path) -> None:
    async with opened(tmp_path) as setup:
        async with open_observer_page(setup.cortex) as page:
            await setup.browser.open(page.url)
            await setup.browser.wait_for("live", "#link")
        await setup.browser.wait_for("Connection lost. Trying again.", "#banner")
        assert await setup.browser.text("#link") == "not connected"
        assert "openai" in await setup.browser.text("#workers")
        await setup.browser.picture(setup.pictures / "page-lost.png")
        async with open_observer_page(setup.cortex, port=page.port):
            await setup.browser.wait_for("Connected again.", "#banner")
            assert await setup.browser.text("#link") == "live"


async def test_names_and_messages_are_never_read_as_html(tmp_path: Path) -> None:
    async with opened(tmp_path) as setup, open_observer_page(setup.cortex) as page:
        hostile = "<img src=x onerror=document.title='broken'>"
        setup.sim["openai"].behave(Behaviour(status=500, error_body=f'{{"error":{{"message":"{hostile}"}}}}'))
        with pytest.raises(CortexError):
            await setup.cortex.complete("Hi", worker="openai", max_wait=0)
        await setup.browser.open(page.url)
        await setup.browser.wait_for("<img src=x", "#failures")
        assert await setup.browser.value("document.images.length") == 0
        assert await setup.browser.value("document.title") != "broken"


def countdown(text: str) -> int:
    found = re.search(r"(\d+) s groq", text)
    assert found, text
    return int(found[1])
