"""API keys as a type that does not show itself.

The key is readable in one place, `reveal()`, called where the request header is made. Everything else,
pickle included, gets the masked form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..failures import ConfigError


def mask(key: str) -> str:
    """Return `sk-proj-abc***xyz789`: enough to recognise a key by, too little to use it."""
    if len(key) >= 24:
        return f"{key[:11]}***{key[-6:]}"
    if len(key) >= 12:
        return f"{key[:3]}***{key[-2:]}"
    return "***"


@final
class ApiKey:
    """A secret: str(), repr(), format() and pickle show the masked form only.

    Made from a str, stripped and checked: raises ConfigError (never with the value) for one that is empty
    or could not travel in a header. An unpickled key is a label; revealing it raises ConfigError.
    """

    __slots__ = ("_masked", "_value")

    _value: str | None
    _masked: str

    def __init__(self, value: str | ApiKey) -> None:
        if isinstance(value, ApiKey):
            self._value, self._masked = value._value, value._masked
            return
        problem = _problem(value)
        if problem:
            del value  # a traceback with locals is a place where keys leak
            raise ConfigError("", problem)
        self._value = value.strip()
        self._masked = mask(value.strip())

    def reveal(self) -> str:
        """The key itself; called in one place, where the request header is made."""
        if self._value is None:
            raise ConfigError("", f"key {self._masked} was pickled: only its masked form is left")
        return self._value

    @property
    def masked(self) -> str:
        return self._masked

    def __str__(self) -> str:
        return self._masked

    def __repr__(self) -> str:
        return f"ApiKey({self._masked})"

    def __format__(self, spec: str) -> str:
        return format(self._masked, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ApiKey) and (self._value, self._masked) == (other._value, other._masked)

    def __hash__(self) -> int:
        return hash((ApiKey, self._value, self._masked))

    def __copy__(self) -> ApiKey:
        return self  # it never changes; without this a copy would be made by pickling, and be a label

    def __deepcopy__(self, _: object) -> ApiKey:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _label, (self._masked,)


def api_keys_from(keys: Sequence[str | ApiKey]) -> tuple[ApiKey, ...]:
    """Return the keys as ApiKeys, duplicates dropped; raises ConfigError naming the slot, not the value."""
    if isinstance(keys, str | bytes) or not isinstance(keys, Sequence):
        kind = type(keys).__name__
        del keys
        raise ConfigError("api_keys", f"a list of str is needed, not {kind}")
    made: dict[ApiKey, None] = {}
    for slot, key in enumerate(keys):
        try:
            made[ApiKey(key)] = None
        except ConfigError as error:
            del keys, key
            raise ConfigError(f"api_keys[{slot}]", error.problem) from None
    return tuple(made)


def _problem(value: object) -> str | None:
    """What is wrong with a key, or None. Says nothing of its value."""
    if not isinstance(value, str):
        return f"an API key is a str, not {type(value).__name__}"
    stripped = value.strip()
    if not stripped:
        return "the API key is empty"
    if any(character in stripped for character in "\r\n\0"):
        return "the API key has a line break in it"
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        return "the API key has a character that cannot travel in a header (printable ASCII without blanks is allowed)"
    return None


def _label(masked: str) -> ApiKey:
    key = ApiKey.__new__(ApiKey)
    key._value, key._masked = None, masked
    return key
