"""What a provider checks before it looks at a request: the account and its API keys. Knows no dialect's shape."""

from __future__ import annotations

import attrs

from ..failures import FailureKind
from ..wire.server import Operation, ParsedRequest, Rejected, ServerDialect
from .request import SimRequest, identity_of


@attrs.frozen(kw_only=True)
class AccountRules:
    """What one account may do."""

    needs_key: bool = True
    """A request without a key is rejected."""
    keys: frozenset[str] | None = None
    """The only keys that are valid; None: any."""
    prefill: bool | None = None
    """Whether a conversation may end with an assistant's message; None: as the real model decides."""


def parse(server: ServerDialect, request: SimRequest, rules: AccountRules) -> ParsedRequest:
    """Return what a request asks for, once everything that the real provider checks is in order.

    Raises:
        Rejected: The key is missing or not valid, or the API does not accept the request.
    """
    received = request.received()
    if request.key is None and rules.needs_key:
        raise Rejected(server.missing_key(received))
    if rules.keys is not None and request.key not in rules.keys:
        unread = ParsedRequest(operation=Operation.CHAT, identity=identity_of(request.number))
        raise Rejected(server.failure(FailureKind.CREDENTIAL, unread))
    parsed = server.parse(received)
    server.validate(received, parsed, prefill=rules.prefill)
    return parsed
