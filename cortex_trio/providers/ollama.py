"""Ollama: a model on this machine, no key; a model may have to be loaded first, hence the time. Facts: docs/api.md."""

from ..wire.codec import HttpRequest
from ..wire.ollama_chat.dialect import OllamaChat
from .provider import Provider

OLLAMA = Provider(
    name="ollama",
    base_url="http://localhost:11434",
    dialect=OllamaChat(),
    priority=50,
    timeout=45.0,
    needs_key=False,
    health=HttpRequest("GET", "/api/tags"),
    models=HttpRequest("GET", "/api/tags"),
    prefill=("",),
    health_lists_models=True,
    env=("OLLAMA",),
    default_models=("qwen3:4b",),
    embed_model="nomic-embed-text",
)
