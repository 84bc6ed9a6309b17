"""xAI: chat completions whose completion_tokens leave out reasoning. Facts: docs.x.ai REST reference."""

from ..wire.chat_completions.dialect import ChatCompletions
from ..wire.codec import HttpRequest
from .provider import Provider

EFFORTS = ("none", "low", "medium", "high")

XAI = Provider(
    name="xai",
    base_url="https://api.x.ai/v1",
    dialect=ChatCompletions(
        usage_excludes_reasoning=True,
        efforts=EFFORTS,
        custom_tools=False,
        files=False,
        own_fields=False,
    ),
    priority=25,
    health=HttpRequest("GET", "/api-key"),
    models=HttpRequest("GET", "/models"),
    env=("XAI",),
    default_models=("grok-4.3",),
    context_windows={
        "grok-4.6": 500_000,
        "grok-4.5": 500_000,
        "grok-4.3": 1_000_000,
        "grok-4-fast": 2_000_000,
        "grok-4-1-fast": 2_000_000,
        "grok-code-fast": 256_000,
        "grok-3": 131_072,
    },
)
