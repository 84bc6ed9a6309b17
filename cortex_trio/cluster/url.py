"""The address of a store, as a URL that hides its password. Knows nothing of the client that uses it.

    valkey://user:password@host:6379/0          one server
    valkeys://host:6380?ca=/etc/ssl/ours.pem    with TLS, and a CA of your own
    valkey://host-1:6379,host-2:6379?cluster=true&prefix=shop&salt=…

The schemes redis:// and rediss:// mean the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import attrs

from ..failures import ConfigError

SCHEMES: Mapping[str, bool] = {"valkey": False, "valkeys": True, "redis": False, "rediss": True}
"""The schemes, and whether each uses TLS."""
PORT = 6379
FILES = ("ca", "cert", "key")
OPTIONS = ("prefix", "salt", "cluster", *FILES)
DEFAULT_PREFIX = "cortex"


@final
class Secret:
    """A password or a salt. str(), repr() and pickle do not show it; an unpickled one is empty."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret."""
        return self._value

    def __repr__(self) -> str:
        return "***" if self._value else "''"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _: object) -> Secret:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return Secret, ()


@final
@attrs.frozen
class StoreUrl:
    """Where a Valkey or Redis server is. str(), repr() and pickle do not show the password and the salt."""

    addresses: Sequence[tuple[str, int]]
    """Hosts and ports, at least one."""
    tls: bool
    user: str | None = None
    password: Secret = attrs.field(factory=Secret)
    """Empty: there is none."""
    database: int = 0
    prefix: str = DEFAULT_PREFIX
    """Of all names in the store."""
    salt: Secret = attrs.field(factory=Secret)
    """Is hashed together with each API key."""
    cluster: bool = False
    """Whether the server is a cluster."""
    ca: str | None = None
    """A PEM file: only the CAs in it are trusted. None: those of SSL_CERT_FILE, otherwise those of the system."""
    cert: str | None = None
    """A PEM file with a client certificate, for a server that asks for one. None: there is none."""
    key: str | None = None
    """A PEM file with the key of `cert`. None: it is in the file `cert`."""

    @classmethod
    def parse(cls, text: str, path: str = "store") -> StoreUrl:
        """Read a URL.

        Args:
            text: the URL.
            path: the name of the setting, for errors.

        Raises:
            ConfigError: it is no such URL. The error does not contain it, because it may hold a password.
        """
        try:
            url = urlsplit(text.strip())
            options = parse_qsl(url.query, keep_blank_values=True, strict_parsing=bool(url.query))
        except ValueError:
            raise ConfigError(path, "not a URL such as valkey://host:6379/0") from None
        if url.scheme not in SCHEMES:
            raise ConfigError(
                path, f"a URL that begins with {', '.join(f'{s}://' for s in SCHEMES)} is needed"
            )
        if unknown := [name for name, _ in options if name not in OPTIONS]:
            raise ConfigError(path, f"unknown option {unknown[0]!r:.40}; allowed: {', '.join(OPTIONS)}")
        user, password, hosts = _authority(url)
        found = dict(options)
        ca, cert, key = (found.get(name) or None for name in FILES)
        if (ca or cert or key) and not SCHEMES[url.scheme]:
            raise ConfigError(path, "ca, cert and key need TLS: a URL that begins with valkeys://")
        if key and not cert:
            raise ConfigError(path, "key needs cert")
        return cls(
            addresses=tuple(_address(host, path) for host in hosts.split(",")),
            tls=SCHEMES[url.scheme],
            user=user,
            password=Secret(password),
            database=_database(url.path, path),
            prefix=found.get("prefix") or DEFAULT_PREFIX,
            salt=Secret(found.get("salt", "")),
            cluster=_flag(found.get("cluster", "false"), path),
            ca=ca,
            cert=cert,
            key=key,
        )

    def __str__(self) -> str:
        scheme = "valkeys" if self.tls else "valkey"
        hosts = ",".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.addresses
        )
        return f"{scheme}://{'***@' if self.password else ''}{hosts}/{self.database}"


def store_url(value: str | StoreUrl) -> StoreUrl:
    """Return `value` as a StoreUrl: the converter of a setting. Raises ConfigError."""
    if isinstance(value, StoreUrl):
        return value
    if not isinstance(value, str):
        raise ConfigError(
            "store", f"a URL such as valkey://host:6379/0 is needed, not {type(value).__name__}"
        )
    return StoreUrl.parse(value)


def _authority(url: SplitResult) -> tuple[str | None, str, str]:
    """Return user, password, and the hosts with their ports."""
    login, _, hosts = url.netloc.rpartition("@")
    user, _, password = login.partition(":")
    return unquote(user) or None, unquote(password), hosts


def _address(text: str, path: str) -> tuple[str, int]:
    host, bracket, rest = text.removeprefix("[").partition("]") if text.startswith("[") else ("", "", text)
    if not bracket:
        host, _, rest = text.partition(":")
        rest = f":{rest}" if rest else ""
    port = rest.removeprefix(":") or str(PORT)
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(path, "a host and a port from 1 to 65535 are needed, such as valkey://host:6379/0")
    return host, int(port)


def _database(text: str, path: str) -> int:
    number = text.strip("/") or "0"
    if not number.isascii() or not number.isdigit() or int(number) > 10_000:
        raise ConfigError(path, "the number of a database is needed after the last slash, such as /0")
    return int(number)


def _flag(text: str, path: str) -> bool:
    if text not in ("true", "false"):
        raise ConfigError(path, "cluster must be true or false")
    return text == "true"
