"""Types of secrets that hide their values: API keys, values of headers, passwords of proxies.

The value is returned only by `reveal()`, or by the lookup of a mapping, which are called where a request is made.
Everything else, pickle and `attrs.asdict` included, gets the masked form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from hashlib import sha256
from typing import ParamSpec, TypeVar, final

from ...failures import ConfigError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def without_keys(read: Callable[P, R]) -> Callable[P, R]:
    """Decorator: raise the ConfigErrors of `read` without its frames, which hold keys. Error reporters send locals."""

    @wraps(read)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return read(*args, **kwargs)
        except ConfigError as error:
            problem = ConfigError(error.path, error.problem)
        finally:
            del args, kwargs
        raise problem

    return reading


def made_without_keys(cls: type[T]) -> type[T]:
    """Class decorator: `without_keys` for `__init__`, whose frames hold the fields given so far."""
    setattr(cls, "__init__", without_keys(getattr(cls, "__init__")))  # noqa: B009, B010
    return cls


def mask(key: str) -> str:
    """Return a form like `sk-proj-abc***xyz789`, by which a key can be recognised but not used."""
    if len(key) >= 24:
        return f"{key[:11]}***{key[-6:]}"
    if len(key) >= 12:
        return f"{key[:3]}***{key[-2:]}"
    return "***"


@final
class ApiKey:
    """A secret whose str(), repr(), format() and pickle show the masked form only.

    An unpickled key has no value; `reveal` raises ConfigError.
    """

    __slots__ = ("_masked", "_value")

    _value: str | None
    _masked: str

    def __init__(self, value: str | ApiKey) -> None:
        """
        Args:
            value: the key; blanks around it are dropped.

        Raises:
            ConfigError: the key is empty or not allowed in a header. The error does not contain it.
        """
        if isinstance(value, ApiKey):
            self._value, self._masked = value._value, value._masked
            return
        problem = _problem(value)
        if problem:
            del value  # a traceback with locals would show it
            raise ConfigError("", problem)
        self._value = value.strip()
        self._masked = mask(value.strip())

    def reveal(self) -> str:
        """Return the key. Called in one place, where the request header is made.

        Raises:
            ConfigError: this key was unpickled.
        """
        if self._value is None:
            raise ConfigError("", f"key {self._masked} was pickled: only its masked form is left")
        return self._value

    @property
    def masked(self) -> str:
        """The masked form, as `mask` returns it."""
        return self._masked

    def fingerprint(self, salt: str) -> str:
        """Return a hash by which processes name this key to each other. It does not show the key.

        Args:
            salt: is hashed as well; equal in all processes.

        Raises:
            ConfigError: this key was unpickled.
        """
        return sha256(f"{salt}\0{self.reveal()}".encode()).hexdigest()[:24]

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
        return self  # immutable; without this method a copy would be made by pickling and have no value

    def __deepcopy__(self, _: object) -> ApiKey:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _label, (self._masked,)


def api_keys_from(keys: Sequence[str | ApiKey]) -> tuple[ApiKey, ...]:
    """Return the keys as ApiKeys, without duplicates.

    Args:
        keys: a list or a tuple; the order is kept.

    Raises:
        ConfigError: this is not a list, or a key is not allowed; the error names its index and does not contain it.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Sequence):
        kind = type(keys).__name__
        del keys
        raise ConfigError("api_keys", f"a list of str is needed, not {kind}")
    made: dict[ApiKey, None] = {}
    for index, key in enumerate(keys):
        try:
            made[ApiKey(key)] = None
        except ConfigError as error:
            del keys, key
            raise ConfigError(f"api_keys[{index}]", error.problem) from None
    return tuple(made)


# ------------------------------------------------------------------ values of headers and of query parameters


@final
class Hidden(Mapping[str, str]):
    """A mapping that shows only its names: str(), repr(), pickle and attrs.asdict leave the values out.

    An unpickled one has names without values; a lookup raises ConfigError.
    """

    __slots__ = ("_values",)

    _values: dict[str, str | None]

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> str:
        value = self._values[name]
        if value is None:
            raise ConfigError("", f"the value of {name} was pickled: only its name is left")
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __repr__(self) -> str:
        return f"{[*self._values]}"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Hidden):
            return self._values == other._values
        return isinstance(other, Mapping) and self._values == dict(other)

    def __hash__(self) -> int:
        return hash((Hidden, frozenset(self._values.items())))

    def __copy__(self) -> Hidden:
        return self

    def __deepcopy__(self, _: object) -> Hidden:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return _names_only, (tuple(self._values),)


def _names_only(names: Sequence[str]) -> Hidden:
    hidden = Hidden({})
    hidden._values = dict.fromkeys(names)
    return hidden


# ------------------------------------------------------------------ proxies


@final
class ProxyUrl(str):
    """The address of a proxy. As a str it contains `***` in place of user and password; `reveal` returns them.

    It is compared, also with a str, by the whole address. An unpickled one with a password has lost it; `reveal` raises
    ConfigError.
    """

    __slots__ = ("_whole",)

    _whole: str | None

    def __new__(cls, address: str) -> ProxyUrl:
        if isinstance(address, ProxyUrl):
            return address
        made = super().__new__(cls, re.sub(r"(?<=://).*@", "***@", address))
        made._whole = address
        return made

    def reveal(self) -> str:
        """Return the whole address. Called in one place, where the transport is made.

        Raises:
            ConfigError: this one was unpickled and has lost its password.
        """
        if self._whole is None:
            raise ConfigError("proxy", f"{self} was pickled: its password was left out")
        return self._whole

    def __repr__(self) -> str:
        return f"ProxyUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ProxyUrl):
            return self._whole == other._whole and str.__eq__(self, other)
        return isinstance(other, str) and self._whole == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._whole)

    def __copy__(self) -> ProxyUrl:
        return self

    def __deepcopy__(self, _: object) -> ProxyUrl:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return (ProxyUrl if self._whole == str(self) else _proxy_label), (str(self),)


def _proxy_label(shown: str) -> ProxyUrl:
    label = str.__new__(ProxyUrl, shown)
    label._whole = None
    return label


# ------------------------------------------------------------------ keys


def _problem(value: object) -> str | None:
    """Return what is wrong with a key, or None. The text does not contain the key."""
    if not isinstance(value, str):
        return f"an API key is a str, not {type(value).__name__}"
    stripped = value.strip()
    if not stripped:
        return "the API key is empty"
    if any(character in stripped for character in "\r\n\0"):
        return "the API key contains a line break"
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        return "the API key contains a character that a header cannot have (printable ASCII without blanks is allowed)"
    return None


def _label(masked: str) -> ApiKey:
    key = ApiKey.__new__(ApiKey)
    key._value, key._masked = None, masked
    return key
