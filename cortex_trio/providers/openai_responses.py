"""OpenAI by its newer API: reasoning goes back, and may be shown. Facts: OpenAI API reference, Responses.

Everything else is OpenAI's. Its environment variables are its own, so that one key does not make two workers.
"""

import attrs

from ..wire.responses.dialect import Responses
from .openai import MOST_FILE_BYTES, OPENAI

OPENAI_RESPONSES = attrs.evolve(
    OPENAI,
    name="openai_responses",
    dialect=Responses(
        beside=OPENAI.dialect,
        unreasoning=("gpt-3", "gpt-4", "chatgpt-4", "ft:gpt-3", "ft:gpt-4"),
        least_max_tokens=16,
        most_file_bytes=MOST_FILE_BYTES,
    ),
    env=("OPENAI_RESPONSES",),
)
