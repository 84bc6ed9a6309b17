"""What `python -m cortex_trio.simulator` runs: which providers, with which faults, API keys and models."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import attrs

from ..failures import ConfigError, InvalidRequest
from .behaviour import Behaviour
from .provider import SimulatedProvider
from .servers import SERVERS
from .simulator import Simulator

DEFAULT_PROVIDERS = ("openai", "anthropic", "ollama")
TOKENS_PER_SECOND = 20.0
TOKENS_BEFORE_FAULT = 3
GOOD = Behaviour()


@attrs.frozen(kw_only=True)
class Fault:
    """A fault that a provider can be given."""

    help: str
    behaviour: Behaviour = GOOD
    """What chats and embeddings get. Where it sends no error of its own, the text of the provider is put in."""
    health: Behaviour = GOOD
    """What health checks and requests for the list of models get."""
    accepts_keys: bool = True


def _status(status: int) -> Fault:
    behaviour = Behaviour(status=status)
    return Fault(
        help=f"every request gets HTTP {status}, health checks as well", behaviour=behaviour, health=behaviour
    )


FAULTS: Mapping[str, Fault] = {
    "429": Fault(
        help="chats and embeddings get HTTP 429 with Retry-After: 20",
        behaviour=Behaviour(status=429, retry_after=20),
    ),
    "500": _status(500),
    "503": _status(503),
    "529": _status(529),
    "cut": Fault(
        help=f"answers end after {TOKENS_BEFORE_FAULT} tokens, without their end",
        behaviour=Behaviour(cut_after=TOKENS_BEFORE_FAULT),
    ),
    "stall": Fault(
        help=f"answers stop after {TOKENS_BEFORE_FAULT} tokens, and the connection stays open",
        behaviour=Behaviour(stall_after=TOKENS_BEFORE_FAULT),
    ),
    "silent": Fault(help="chats and embeddings get no byte", behaviour=Behaviour(silent=True)),
    "wrong_key": Fault(help="every API key is rejected with HTTP 401", accepts_keys=False),
    "no_models": Fault(
        help="the list of models, which is the health check, gets HTTP 404", health=Behaviour(status=404)
    ),
}


@attrs.frozen
class Plan:
    """The providers of one run by name, and what is special about each."""

    names: Sequence[str]
    faults: Mapping[str, Sequence[str]]
    keys: Mapping[str, Sequence[str]]
    models: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Plan:
        """Return what the command line asks for. Raises InvalidRequest."""
        broken = [f"{name}=503" for name in arguments.broken]
        faults = _by_provider("--fault", [*broken, *arguments.fault])
        keys, models = _by_provider("--key", arguments.key), _by_provider("--model", arguments.model)
        for fault in (fault for group in faults.values() for fault in group):
            if fault not in FAULTS:
                raise InvalidRequest(f"--fault: one of {', '.join(FAULTS)} is allowed, not {fault!r}")
        wanted = [*(arguments.provider or DEFAULT_PROVIDERS), *faults, *keys, *models]
        return cls([*dict.fromkeys(wanted)], faults, keys, models)

    def add(self, simulator: Simulator, name: str, port: int) -> None:
        """Start one provider. Raises ConfigError if the port cannot be used."""
        text = f"Hello! I am a simulated {name}, and all I can do is to say so."
        try:
            provider = simulator.add(name, models=self.models.get(name), port=port)
        except OSError as error:
            raise ConfigError("--port", f"{port} cannot be used: {error.strerror}") from None
        if name in self.keys:
            provider.api_keys = tuple(self.keys[name])
            provider.valid_keys = set(self.keys[name])
        provider.behave(Behaviour(text=text, tokens_per_second=TOKENS_PER_SECOND))
        for fault in self.faults.get(name, ()):
            _break(provider, FAULTS[fault], text)


def _by_provider(option: str, pairs: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not value:
            raise InvalidRequest(f"{option}: PROVIDER=VALUE is needed, not {pair!r}")
        if name not in SERVERS:
            raise InvalidRequest(f"{option}: there is no provider {name!r}; there are: {', '.join(SERVERS)}")
        found.setdefault(name, []).append(value)
    return found


def _break(provider: SimulatedProvider, fault: Fault, text: str) -> None:
    """Give a provider a fault. Several can be combined as far as they concern different requests."""
    if fault.behaviour != GOOD:
        provider.behave(attrs.evolve(fault.behaviour, text=text, tokens_per_second=TOKENS_PER_SECOND))
    if fault.health != GOOD:
        provider.behave_health(fault.health)
    if not fault.accepts_keys:
        provider.valid_keys = set()
