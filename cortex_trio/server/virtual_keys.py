"""The API keys of the server's own clients, and what each may use. Values; they hold hashes and no key.

A plain key is hashed when it is read. A virtual key is an object in the configuration:

    {"name": "team-a", "key_sha256": "…", "models": ["fast"], "requests_per_minute": 600, "tokens_per_minute": 200000,
     "budget": {"usd": 50, "per": "month"}, "max_concurrency": 20}
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import attrs

from ..failures import ConfigError
from ..failures.shown import closest, listed, shown

PREFIX = "sk-cortex-"
"""Of the keys that `new_key` makes; masks of log filters know `sk-`."""
_SHA256 = re.compile(r"[0-9a-f]{64}")

BudgetPeriod = Literal["hour", "day", "week", "month", "total"]
"""Calendar periods in UTC. "total" never starts anew."""


@attrs.frozen
class Budget:
    """Money that a key may spend."""

    usd: float
    """US dollars, more than 0."""
    per: BudgetPeriod = "month"
    """When the budget starts anew."""


@attrs.frozen(kw_only=True)
class VirtualKey:
    """A key of a client. A limit that is None does not exist."""

    name: str
    """For logs, events and metrics."""
    key_sha256: str = attrs.field(repr=False)
    """The SHA-256 of the key, 64 hexadecimal digits in lower case."""
    models: Sequence[str] | None = None
    """The models and aliases that may be requested, as requests name them. None: all."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    """Of input and output together."""
    budget: Budget | None = None
    max_concurrency: int | None = None
    """Requests at the same time."""


AnyKey = str | VirtualKey | Mapping[str, Any]
"""A plain key, a VirtualKey, or a mapping with its fields."""


def new_key() -> str:
    """Return a new random key with 256 bits."""
    return PREFIX + secrets.token_urlsafe(32)


def sha256_of(key: str) -> str:
    """Return the hash under which a key is kept. Keys are random, so one round without a salt is enough.

    Args:
        key: configured, in ASCII; or from a client, with any characters that a header decodes to.
    """
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def virtual_keys_from(keys: Sequence[AnyKey], path: str = "$.keys") -> tuple[VirtualKey, ...]:
    """Return keys as values. A plain key is named by its place: `key-1`, or the next number that is free.

    Args:
        keys: of the configuration, or of a program.
        path: of the list, for errors.

    Raises:
        ConfigError: a key or a field is not allowed, or two keys have one name or one hash.
    """
    if isinstance(keys, str | Mapping) or not isinstance(keys, Sequence):
        raise ConfigError(path, f"a list of keys is needed, not {type(keys).__name__}")
    named_keys = {key.name for key in keys if isinstance(key, VirtualKey)}
    named_keys |= {str(key.get("name")) for key in keys if isinstance(key, Mapping)}
    names = (name for number in itertools.count(1) if (name := f"key-{number}") not in named_keys)
    found = tuple(_virtual_key(key, f"{path}[{index}]", names) for index, key in enumerate(keys))
    for what in ("name", "key_sha256"):
        places: dict[str, int] = {}
        for index, key in enumerate(found):
            first = places.setdefault(getattr(key, what), index)
            if first != index:
                raise ConfigError(f"{path}[{index}].{what}", f"the same as in {path}[{first}]")
    return found


def _virtual_key(key: Any, path: str, names: Iterator[str]) -> VirtualKey:
    if isinstance(key, VirtualKey):
        return attrs.evolve(key, key_sha256=_hash(key.key_sha256, f"{path}.key_sha256"))
    if isinstance(key, str):
        if not key.strip():
            raise ConfigError(path, "a key must not be empty")
        if not (key.strip().isascii() and key.strip().isprintable()):
            # Not shown. Clients do not agree on the bytes of other characters in a header, and many send none.
            raise ConfigError(path, "a key may only have printable ASCII characters")
        return VirtualKey(name=next(names), key_sha256=sha256_of(key.strip()))
    if not isinstance(key, Mapping):
        raise ConfigError(path, f"a key or an object is needed, not {type(key).__name__}")
    fields = [field.name for field in attrs.fields(VirtualKey)]
    _require_known(key, fields, path)
    return VirtualKey(
        name=_name(key.get("name"), f"{path}.name"),
        key_sha256=_hash(key.get("key_sha256"), f"{path}.key_sha256"),
        models=_models(key.get("models"), f"{path}.models"),
        requests_per_minute=_whole(key.get("requests_per_minute"), f"{path}.requests_per_minute"),
        tokens_per_minute=_whole(key.get("tokens_per_minute"), f"{path}.tokens_per_minute"),
        budget=_budget(key.get("budget"), f"{path}.budget"),
        max_concurrency=_whole(key.get("max_concurrency"), f"{path}.max_concurrency"),
    )


def _require_known(mapping: Mapping[Any, Any], fields: Sequence[str], path: str) -> None:
    for name in mapping:
        if name not in fields:
            meant = closest(str(name), fields)
            hint = f"; did you mean {meant}?" if meant else f" ({listed(fields)})"
            raise ConfigError(path, f"there is no field {shown(name)}{hint}")


def _name(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ConfigError(path, f"a name is needed, not {shown(value)}")
    return value


def _hash(value: Any, path: str) -> str:
    if isinstance(value, str) and _SHA256.fullmatch(found := value.strip().lower().removeprefix("sha256:")):
        return found
    # Not shown: it may be the key itself.
    raise ConfigError(
        path, "the SHA-256 of the key is needed, 64 hexadecimal digits (`cortex-trio keys new NAME`)"
    )


def _models(value: Any, path: str) -> Sequence[str] | None:
    if value is None:
        return None
    if (
        isinstance(value, str)
        or not isinstance(value, Sequence)
        or not all(isinstance(one, str) for one in value)
    ):
        raise ConfigError(path, "a list of models and aliases is needed")
    return tuple(value)


def _whole(value: Any, path: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ConfigError(path, f"a whole number from 1 is needed, not {shown(value)}")


def _budget(value: Any, path: str) -> Budget | None:
    if value is None or isinstance(value, Budget):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(path, 'an object is needed: {"usd": 50, "per": "month"}')
    _require_known(value, ("usd", "per"), path)
    usd, per = value.get("usd"), value.get("per", "month")
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not math.isfinite(usd) or usd <= 0:
        raise ConfigError(f"{path}.usd", f"a number above 0 is needed, not {shown(usd)}")
    if per not in get_args(BudgetPeriod):
        raise ConfigError(
            f"{path}.per", f"one of {listed(get_args(BudgetPeriod))} is needed, not {shown(per)}"
        )
    return Budget(float(usd), per)
