"""Which field that a dialect adds to a request a server does not know. Pure.

A caller can leave out what he has set, but not what a dialect adds: such a request must be repeated without it.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ..failures import Failure, FailureKind

UNKNOWN = re.compile(
    r"extra[ _](input|field|forbidden)|not supported with this model|_not_supported\b"
    r"|(unrecogni[sz]ed|unknown|unsupported|unexpected) [\w ]*?(field|parameter|argument)",
    re.IGNORECASE,
)
"""How servers say that they do not know a field: Azure, Bedrock, Fireworks, Mistral, OpenAI, vLLM, and all others that
check with pydantic. https://github.com/openai/openai-agents-python/issues/442,
https://github.com/FlowiseAI/Flowise/issues/2866, https://github.com/earendil-works/pi/issues/3313"""


def is_unknown(failure: Failure, name: str, added: Collection[str]) -> bool:
    """Return whether a server has answered that it does not know a field.

    Args:
        failure: how it has answered.
        name: the field, as errors name it.
        added: `HttpRequest.added` of the request.
    """
    if name not in added or failure.kind is not FailureKind.BAD_REQUEST:
        return False
    text = failure.message if failure.code is None else f"{failure.message} {failure.code}"
    named = re.search(rf"\b{name}(\b|_)", text, re.IGNORECASE)
    return named is not None and UNKNOWN.search(text) is not None
