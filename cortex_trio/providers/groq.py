"""Groq: chat completions with reasoning in `reasoning` and errors as an SSE event. Facts: Groq API reference."""

from ..wire.chat_completions.dialect import ChatCompletions
from ..wire.codec import HttpRequest
from .provider import Provider

GROQ = Provider(
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    dialect=ChatCompletions(
        efforts=("none", "default", "low", "medium", "high"),
        custom_tools=False,
        files=False,
        own_fields=False,
    ),
    priority=15,
    health=HttpRequest("GET", "/models"),
    models=HttpRequest("GET", "/models"),
    env=("GROQ",),
    default_models=("openai/gpt-oss-20b",),
    context_windows={"openai/gpt-oss": 131_072, "llama-3": 131_072, "qwen/": 131_072},
)
