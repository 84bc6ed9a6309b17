"""Reads a table of prices from a configuration. Each mistake is one ConfigError that names the model and the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ...costs import Price
from ...failures import ConfigError
from ...failures.shown import closest, named

FIELDS = tuple(field.name for field in attrs.fields(Price))
NEEDED = tuple(field.name for field in attrs.fields(Price) if field.default is attrs.NOTHING)


def prices_from(value: object, path: str) -> dict[str, Price]:
    """Return the prices by model.

    Args:
        value: a mapping of names of models to Prices, or to mappings with their fields.
        path: of the mapping, written in front of an error's field.

    Raises:
        ConfigError: for the first mistake.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(path, f"an object of models and prices is needed, not {type(value).__name__}")
    prices: dict[str, Price] = {}
    for model, price in value.items():
        if not isinstance(model, str) or not model.strip():
            raise ConfigError(path, f"a model is a non-empty str, not {named(model)}")
        prices[model] = price if isinstance(price, Price) else _price_from(price, f"{path}.{model[:100]}")
    return prices


def _price_from(fields: Any, path: str) -> Price:
    if not isinstance(fields, Mapping):
        raise ConfigError(path, f"an object with {', '.join(FIELDS)} is needed, not {type(fields).__name__}")
    for name in fields:
        if name not in FIELDS:
            meant = closest(name, FIELDS) if isinstance(name, str) else None
            hint = f"; did you mean {meant}?" if meant else ""
            raise ConfigError(f"{path}.{named(name)}", f"unknown; allowed are {', '.join(FIELDS)}{hint}")
    for name in NEEDED:
        if name not in fields:
            raise ConfigError(f"{path}.{name}", "US dollars per million tokens are needed")
    try:
        return Price(**fields)
    except ConfigError as error:
        raise error.under(path) from None
