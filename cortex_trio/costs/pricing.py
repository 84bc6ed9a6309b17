"""The cost of one request: at the price of your own table, or else at that of the list. Decides and sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from ..events import Usage
from .price import Price
from .price_list import listed_price


@attrs.frozen
class Priced:
    """What decides the price of a request, beside its tokens."""

    worker: str
    """The name of the worker."""

    provider: str
    """The name of its provider."""

    model: str
    """The model that was requested."""

    address: str
    """The address of the worker, without the provider's own path."""

    started: datetime
    """When the request began."""


def cost_of(usage: Usage | None, request: Priced, prices: Mapping[str, Price]) -> float | None:
    """Return what a request costs, in US dollars. None: its tokens or its price are not known.

    Args:
        usage: the token counts that the provider reported.
        request: the worker that was asked, and for which model.
        prices: your own, which win over the list: by `worker/model`, or else by model.
    """
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    price = own_price(request, prices)
    if price is None:
        tokens = usage.input_tokens or 0
        price = listed_price(request.provider, request.model, request.address, tokens, request.started)
    return None if price is None else price.cost(usage)


def own_price(request: Priced, prices: Mapping[str, Price]) -> Price | None:
    """Return the price of a request in your own table. None: the list may have it."""
    return prices.get(f"{request.worker}/{request.model}") or prices.get(request.model)
