"""Any server with chat completions (llama.cpp, vLLM, LM Studio, OpenRouter …): it needs a base_url only."""

from ..wire.chat_completions.dialect import ChatCompletions
from ..wire.codec import HttpRequest
from .provider import Provider

OPENAI_COMPATIBLE = Provider(
    name="openai_compatible",
    base_url="",  # the worker's configuration must say where
    dialect=ChatCompletions(max_tokens_field="max_tokens", embeddings=True, finish_optional=True),
    priority=40,
    needs_key=False,
    health=HttpRequest("GET", "/models"),
    models=HttpRequest("GET", "/models"),
)
