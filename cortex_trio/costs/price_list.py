"""Prices from the package genai-prices, which may be missing.

Only its data is used. Its own calculation takes 0.4 ms for each request, a hundred times as long as ours; a test
compares the results. The import takes 0.3 s, once in a process. The first request begins it in a thread, or the program
calls `load_prices` before.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, final

from .price import Price

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo, ModelPrice

PACKAGE = "genai_prices"
PROVIDER_IDS: Mapping[str, str] = {
    "openai": "openai",
    "openai_responses": "openai",
    "anthropic": "anthropic",
    "gemini": "google",
    "groq": "groq",
    "cohere": "cohere",
    "xai": "x-ai",
    "xai_responses": "x-ai",
}
"""What the list calls our providers. Ollama is not in it, and for `openai_compatible` the address decides."""
NAMES = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
"""What the list calls the fields of a Price, in their order."""
MOST_MODELS = 1024
"""Models that are remembered. Callers may name any model, and memory is bounded."""


def load_prices() -> bool:
    """Import the list of prices now and not with the first answer. Returns False if genai-prices cannot be imported.

    The import takes about 0.3 s. In a thread it delays other tasks by some milliseconds at a time.
    """
    return _newest() is not None


def prices_are_pending() -> bool:
    """Return whether `load_prices` has something to import. It takes 0.1 ms."""
    try:
        return PACKAGE not in sys.modules and find_spec(PACKAGE) is not None
    except (ImportError, OSError, ValueError):
        return False


def listed_price(provider: str, model: str, address: str, tokens: int, at: datetime) -> Price | None:
    """Return the price of a request. None: the list does not have it, or is not installed.

    Args:
        provider: the name of the provider.
        model: as it was requested.
        address: of the worker. If the list knows it, it says more than the name: a compatible server may be anywhere.
        tokens: of the request. Some models cost more for long requests.
        at: when the request began. Some models cost less at night.
    """
    snapshot = _newest()
    if snapshot is None:
        return None
    try:
        found = _MODELS.find(snapshot, provider, model, address)
        return None if found is None else found.price(tokens, at)
    except Exception:  # a list that is wrong, or of a later version, must not fail a call that was answered
        return None


def _newest() -> DataSnapshot | None:
    """Return the list, as `genai_prices.UpdatePrices` has left it."""
    try:
        from genai_prices import data_snapshot

        return data_snapshot.get_snapshot()
    except Exception:
        # Not installed, of a later version, or no file can be opened now: no reason to fail a call.
        return None


@final
class _Models:
    """The models that were looked up, those that were not found included: each search takes 0.4 ms."""

    def __init__(self) -> None:
        self._snapshot: DataSnapshot | None = None
        self._known: dict[tuple[str, str, str], _Listed | None] = {}

    def find(self, snapshot: DataSnapshot, provider: str, model: str, address: str) -> _Listed | None:
        if snapshot is not self._snapshot or len(self._known) >= MOST_MODELS:
            self._snapshot, self._known = snapshot, {}
        key = (provider, model, address)
        if key not in self._known:
            self._known[key] = _search(snapshot, provider, model, address)
        return self._known[key]


_MODELS = _Models()


def _search(snapshot: DataSnapshot, provider: str, model: str, address: str) -> _Listed | None:
    try:
        owner = snapshot.find_provider(None, None, address)
    except LookupError:
        provider_id = PROVIDER_IDS.get(provider)
        if provider_id is None:
            return None
        owner = snapshot.find_provider(None, provider_id, None)
    found = owner.find_model(model.lower(), all_providers=snapshot.providers)
    return None if found is None else _Listed(found)


@final
class _Listed:
    """One model of the list. Its price is read once, and anew when another one applies at this time of day."""

    def __init__(self, model: ModelInfo) -> None:
        self._model = model
        self._read: ModelPrice | None = None  # what `_steps` were read from
        self._steps: Sequence[tuple[int, Price | None]] = ()

    def price(self, tokens: int, at: datetime) -> Price | None:
        price = self._model.get_prices(at)
        if price is not self._read:
            self._read, self._steps = price, _steps_of(price)
        return next((step for start, step in reversed(self._steps) if tokens > start), None)


def _steps_of(price: ModelPrice) -> Sequence[tuple[int, Price | None]]:
    """Return the prices by the number of tokens of the request above which they apply, in order."""
    values = [getattr(price, name) for name in NAMES]
    starts = {tier.start for value in values if hasattr(value, "tiers") for tier in value.tiers}
    return [(start, _step(values, start + 1)) for start in (-1, *sorted(starts))]


def _step(values: Sequence[Any], tokens: int) -> Price | None:
    """Return the price of a request. None: it is priced by the image, the second or the search, and not by tokens."""
    found: list[float | None] = []
    for value in values:
        if hasattr(value, "tiers"):
            passed = [tier.price for tier in value.tiers if tokens > tier.start]
            found.append(float(passed[-1] if passed else value.base))
        else:
            found.append(None if value is None else float(value))
    paid, produced, cached, written = found
    return None if paid is None else Price(paid, produced or 0.0, cached, written)
