"""The requests of one round and its cost: values that the parent and the clients' processes exchange."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Dialect = Literal["chat", "messages", "ollama"]
BesideKind = Literal["idle", "open", "busy"]


@dataclass(frozen=True)
class Workload:
    """`requests` requests, `concurrency` at a time, answered as `settings` says (see `upstream`).

    The first ones start `stagger` seconds apart: streams that begin together would wake their client together.
    `beside` connections are in the background while a round is measured: kept alive and idle, or carrying
    streams that are open and silent, or open and busy. With `refusing` a gateway asks a first worker in vain.
    """

    settings: str
    requests: int
    concurrency: int = 1
    kind: Literal["streamed", "whole"] = "streamed"
    dialect: Dialect = "chat"
    stagger: float = 0.0
    beside: int = 0
    beside_kind: BesideKind = "idle"
    refusing: bool = False
    cancel: bool = False  # leave each stream after its first piece, and note when

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Workload:
        return Workload(**json.loads(text))


@dataclass(frozen=True)
class Measured:
    """The cost of one round for its process."""

    cpu: float  # seconds, user and system, all requests together
    wall: float
    events: int  # pieces of text that arrived
    first_token: float  # median seconds from the call to the first piece
    resident: int  # bytes by which the process grew while `beside` was set up
    left: dict[str, float]  # tag → when the client began to leave (monotonic clock)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Measured:
        return Measured(**json.loads(text))
