"""A gateway opens, and calls are answered, where the list of prices cannot be imported for any reason."""

import sys
from collections.abc import Sequence

import pytest

from cortex_trio.costs import load_prices
from cortex_trio.costs.price_list import prices_are_pending
from cortex_trio.simulator import Behaviour, open_gateway, open_simulator


class Unreadable:
    """An importer whose files cannot be opened."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> None:
        if name.partition(".")[0] == "genai_prices":
            raise OSError(24, "Too many open files")


async def test_an_import_that_fails_costs_no_call(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "genai_prices"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Unreadable(), *sys.meta_path])
    assert prices_are_pending() is False
    assert load_prices() is False
    async with open_simulator() as sim:
        sim.add("openai", Behaviour(text="An answer."))
        async with open_gateway(sim) as cortex:
            reply = await cortex.complete("Hi")
    assert (reply.text, reply.cost) == ("An answer.", None)
