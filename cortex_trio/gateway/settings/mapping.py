"""Reads workers from a mapping, such as the object inside CORTEX_PROVIDERS, with cattrs. Times are in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import attrs

from ...failures import ConfigError
from ...failures.shown import closest, named, shown
from ...providers import PROVIDERS
from .fields import MAX_SECONDS, worker_name
from .gateway_settings import SETTINGS
from .secrets import without_keys
from .worker_config import WorkerConfig

if TYPE_CHECKING:
    from cattrs import Converter
    from cattrs.errors import ClassValidationError, IterableValidationError


@without_keys
def worker_config_from(name: str, mapping: Mapping[str, Any] | WorkerConfig, path: str) -> WorkerConfig:
    """Return the configuration of one worker.

    Args:
        name: of the worker.
        mapping: its fields, `timeout` in ms. A WorkerConfig is returned as it is.
        path: of the mapping, written in front of an error's field.

    Raises:
        ConfigError: a field is not allowed, or has a value that is not allowed.
    """
    if isinstance(mapping, WorkerConfig):
        return mapping
    if not isinstance(mapping, Mapping):
        raise ConfigError(path, f"an object is needed, not {type(mapping).__name__}")
    for key in mapping:
        if not isinstance(key, str):
            raise ConfigError(path, f"names of fields are strings, not {shown(key)}")
    if "provider" not in mapping:
        if name not in PROVIDERS:
            meant = closest(name, PROVIDERS)
            raise ConfigError(
                path,
                f'not a provider ({", ".join(PROVIDERS)}); a worker of another name needs "provider"'
                f"{_did_you_mean(meant)}",
            )
        mapping = {**mapping, "provider": name}
    from cattrs.errors import (
        ClassValidationError,  # here, because a program that passes a Config needs no cattrs
    )

    try:
        return _converter().structure(mapping, WorkerConfig)
    except ClassValidationError as error:
        raise _first_problem(error, path) from None


def workers_from(mapping: Any) -> dict[str, WorkerConfig]:
    """Return all workers of the object inside CORTEX_PROVIDERS. Its `$settings` are none.

    Raises:
        ConfigError: for the first mistake, with its path.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError("$", f"an object of providers is needed, not {type(mapping).__name__}")
    return {
        worker_name(name): worker_config_from(name, value, f"$.{named(name)}")
        for name, value in mapping.items()
        if name != SETTINGS
    }


def _keep(value: Any, _: Any) -> Any:
    return value  # the field's own converter and validator check it, with better error texts


def _milliseconds(value: Any, _: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError("timeout", f"milliseconds, as a number, are needed, not {type(value).__name__}")
    if not 1 <= value <= MAX_SECONDS * 1000:
        raise ConfigError(
            "timeout", f"milliseconds from 1 to {MAX_SECONDS * 1000:.0f} are allowed, not {shown(value)}"
        )
    return value / 1000


@cache
def _converter() -> Converter:
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn, override

    converter = Converter(forbid_extra_keys=True)
    fields: dict[str, Any] = {f.name: override(struct_hook=_keep) for f in attrs.fields(WorkerConfig)}
    fields["timeout"] = override(struct_hook=_milliseconds)
    hook = make_dict_structure_fn(WorkerConfig, converter, _cattrs_forbid_extra_keys=True, **fields)
    converter.register_structure_hook(WorkerConfig, hook)
    return converter


def _first_problem(error: ClassValidationError | IterableValidationError, path: str) -> ConfigError:
    """Return the first mistake as a ConfigError. cattrs collects all; one clear sentence is easier to act on."""
    from cattrs import transform_error
    from cattrs.errors import ForbiddenExtraKeysError

    first = error.exceptions[0]
    if isinstance(first, ConfigError):
        return first.under(path)
    if isinstance(first, ForbiddenExtraKeysError):
        allowed = [field.name for field in attrs.fields(WorkerConfig)]
        name = min(first.extra_fields)
        meant = closest(name, allowed)
        return ConfigError(
            f"{path}.{named(name)}", f"unknown; allowed are {', '.join(allowed)}{_did_you_mean(meant)}"
        )
    return ConfigError(path, named(transform_error(error, path=path)[0], 200))


def _did_you_mean(name: str | None) -> str:
    return f"; did you mean {name}?" if name else ""
