"""The price of a model's tokens, and what one request costs at it. Pure; knows no model by name."""

from __future__ import annotations

from typing import Any

import attrs

from ..events import Usage
from ..failures import ConfigError
from ..failures.shown import shown

PER = 1_000_000
"""Tokens for which a price is given."""
MOST = 1e9
"""US dollars per million tokens; a higher price is a mistake."""


def _amount(_: object, field: attrs.Attribute[Any], value: object) -> None:
    if value is None and field.default is None:
        return
    wanted = f"US dollars per million tokens are needed, a number from 0 to {MOST:.0f}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(field.name, f"{wanted}, not {type(value).__name__}")
    if not 0 <= value <= MOST:  # NaN is not
        raise ConfigError(field.name, f"{wanted}, not {shown(value)}")


@attrs.frozen
class Price:
    """The price of a model, in US dollars per million tokens.

    Raises:
        ConfigError: a number is negative, infinite or not a number; the error names the field.
    """

    input: float = attrs.field(validator=_amount)
    """Tokens of the request."""

    output: float = attrs.field(validator=_amount)
    """Tokens of the answer, those of its reasoning included."""

    cached_input: float | None = attrs.field(default=None, validator=_amount)
    """Tokens of the request that the provider read from its prompt cache. None: as `input`."""

    cache_write: float | None = attrs.field(default=None, validator=_amount)
    """Tokens of the request that the provider wrote into its prompt cache. None: as `input`."""

    def cost(self, usage: Usage) -> float | None:
        """Return what `usage` costs, in US dollars. None: the tokens of neither side were reported."""
        if usage.input_tokens is None and usage.output_tokens is None:
            return None
        total = usage.input_tokens or 0
        # A provider may count in its own way: no token is paid twice, and none less than nothing.
        cached = min(usage.cached_input_tokens or 0, total)
        written = min(usage.cache_write_tokens or 0, total - cached)
        dollars = (
            (total - cached - written) * self.input
            + cached * (self.input if self.cached_input is None else self.cached_input)
            + written * (self.input if self.cache_write is None else self.cache_write)
            + (usage.output_tokens or 0) * self.output
        )
        return dollars / PER
