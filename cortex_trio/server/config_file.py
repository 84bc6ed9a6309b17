"""Reads the configuration file of a server: the object of CORTEX_PROVIDERS as JSON or TOML, with the clients' keys.

    {
      "openai": {"api_keys": ["${OPENAI_API_KEY}"]},
      "$settings": {"aliases": {"fast": ["openai/gpt-5-mini"]}},
      "$keys": [{"name": "team-a", "key_sha256": "…", "requests_per_minute": 600}]
    }

`${NAME}` in a value is the environment variable of this name; `$${` is a plain `${`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..failures import ConfigError
from ..failures.shown import named
from ..gateway.settings.config import Config
from ..gateway.settings.secrets import without_keys
from .virtual_keys import AnyKey, VirtualKey, virtual_keys_from

SETTINGS = "$settings"
KEYS = "$keys"
"""Also `keys` within `$settings`."""

_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@attrs.frozen
class ServerConfig:
    """What a file, or the environment, says."""

    gateway: Config
    keys: Sequence[VirtualKey] = ()


@without_keys
def read_config(path: Path, environ: Mapping[str, str]) -> ServerConfig:
    """Read a configuration file. TOML if its name ends so, else JSON.

    Args:
        path: of the file.
        environ: the variables for `${NAME}`.

    Raises:
        ConfigError: the file cannot be read, is malformed, or a value is not allowed; it names the place.
    """
    return server_config_from(_filled(_parsed(path), environ, "$"))


@without_keys
def server_config_from(mapping: Any) -> ServerConfig:
    """Return the configuration in an object.

    Raises:
        ConfigError: a value is not allowed.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError("$", f"an object of providers is needed, not {type(mapping).__name__}")
    workers = {name: value for name, value in mapping.items() if name != KEYS}
    keys, place = mapping.get(KEYS, ()), f"$.{KEYS}"
    settings = workers.get(SETTINGS)
    if isinstance(settings, Mapping):
        settings = dict(settings)
        if "keys" in settings:
            keys, place = settings.pop("keys"), f"$.{SETTINGS}.keys"
        workers[SETTINGS] = settings
    return ServerConfig(Config.from_mapping(workers), virtual_keys_from(keys, place))


@without_keys
def read_keys(path: Path) -> Sequence[AnyKey]:
    """Read a file of keys: a JSON list, or one plain key a line, where lines that begin with # are comments.

    Raises:
        ConfigError: the file cannot be read or is malformed.
    """
    text = _text(path).strip()
    if not text.startswith("["):
        lines = [line.strip() for line in text.splitlines()]
        return [line for line in lines if line and not line.startswith("#")]
    try:
        keys: Sequence[AnyKey] = json.loads(text)
    except ValueError as error:
        raise ConfigError(str(path), f"not JSON ({_where(error)})") from None
    return keys


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(str(path), error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise ConfigError(str(path), "not UTF-8") from None


def _parsed(path: Path) -> Any:
    text = _text(path)
    kind = "TOML" if path.suffix.lower() == ".toml" else "JSON"
    try:
        return tomllib.loads(text) if kind == "TOML" else json.loads(text)
    except RecursionError:
        raise ConfigError(str(path), f"not {kind} (too deep)") from None
    except ValueError as error:
        raise ConfigError(str(path), f"not {kind} ({_where(error)})") from None


def _where(error: ValueError) -> str:
    """Return the place of a mistake without the text around it, which may hold a key."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}"
    found = re.search(r"line \d+, column \d+", str(error))
    return found[0] if found else "at the end"


def _filled(value: Any, environ: Mapping[str, str], path: str) -> Any:
    """Return a value with the variables in it replaced."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _variable(found, environ, path), value)
    if isinstance(value, Mapping):
        return {name: _filled(one, environ, f"{path}.{named(name)}") for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, environ, f"{path}[{index}]") for index, one in enumerate(value)]
    return value


def _variable(found: re.Match[str], environ: Mapping[str, str], path: str) -> str:
    name = found[1]
    if name is None:
        return "${"
    if not _NAME.fullmatch(name):
        raise ConfigError(path, "the name of a variable is needed within ${ }")
    if name not in environ:
        raise ConfigError(path, f"the environment variable {name} is not set")
    return environ[name]
