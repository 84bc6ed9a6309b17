"""OpenAI: the chat completions dialect at its origin. Facts: OpenAI API reference, rate-limit guide."""

from ..wire.chat_completions.dialect import ChatCompletions
from ..wire.codec import HttpRequest
from .provider import Provider

MOST_FILE_BYTES = 50_000_000 // 3 * 4
"""50 MB of files in one request, here in base64. https://platform.openai.com/docs/guides/pdf-files"""

OPENAI = Provider(
    name="openai",
    base_url="https://api.openai.com/v1",
    dialect=ChatCompletions(embeddings=True, own_fields=False, most_file_bytes=MOST_FILE_BYTES),
    priority=5,
    timeout=30.0,
    health=HttpRequest("GET", "/models"),
    models=HttpRequest("GET", "/models"),
    env=("OPENAI",),
    default_models=("gpt-6.1-terra",),
    embed_model="text-embedding-3-small",
    context_windows={
        "gpt-6": 1_050_000,
        "gpt-5.4-mini": 400_000,
        "gpt-5.4-nano": 400_000,
        "gpt-5.": 1_050_000,
        "gpt-5": 400_000,
        "gpt-4.1": 1_000_000,
        "gpt-4o": 128_000,
    },
)
