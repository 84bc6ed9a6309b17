"""Whether a server has answered that it does not know a field which a dialect has added to the request. Pure.

Callers can leave out what they have set, but not what a dialect adds: such a request must be repeated without it.
"""

from __future__ import annotations

import re

from ..failures import Failure, FailureKind

UNKNOWN = re.compile(
    r"extra[ _](input|field|forbidden)|not supported with this model|\binclude_not_supported\b"
    r"|(unrecogni[sz]ed|unknown|unsupported|unexpected) (?:(?!value|type)\w+ )*?(field|parameter|argument)",
    re.IGNORECASE,
)
"""How servers say that they do not know a field: Azure, Bedrock, Fireworks, Mistral, OpenAI, vLLM, and all others that
check with pydantic. https://github.com/openai/openai-agents-python/issues/442,
https://github.com/FlowiseAI/Flowise/issues/2866, https://github.com/earendil-works/pi/issues/3313"""


def field_pattern(name: str) -> re.Pattern[str]:
    """Return a pattern for a field of the body, and not of a part of it such as "metadata.name"."""
    return re.compile(rf"(?<![\w.\]]){name}(?!\w)")


def is_unknown(failure: Failure, named: re.Pattern[str]) -> bool:
    """Return whether a server has answered that it does not know a field.

    Args:
        failure: how it has answered.
        named: how errors name the field.
    """
    if failure.kind is not FailureKind.BAD_REQUEST:
        return False
    text = failure.message if failure.code is None else f"{failure.message} {failure.code}"
    return named.search(text) is not None and UNKNOWN.search(text) is not None
