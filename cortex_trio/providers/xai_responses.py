"""xAI by the Responses API: reasoning goes back, and its usage counts it as others do. Facts: docs.x.ai REST reference.

Everything else is xAI's. Its environment variables are its own, so that one key does not make two workers.
"""

import attrs

from ..wire.responses.dialect import Responses
from .xai import EFFORTS, XAI

XAI_RESPONSES = attrs.evolve(
    XAI,
    name="xai_responses",
    dialect=Responses(beside=XAI.dialect, efforts=EFFORTS, custom_tools=False, own_fields=False),
    env=("XAI_RESPONSES",),
)
