"""Cohere: the v2 chat dialect. Facts: Cohere API v2 reference."""

from ..wire.codec import HttpRequest
from ..wire.cohere_chat.dialect import CohereChat
from .provider import Provider

COHERE = Provider(
    name="cohere",
    base_url="https://api.cohere.com",
    dialect=CohereChat(),
    priority=30,
    health=HttpRequest("GET", "/v1/models?page_size=1"),
    models=HttpRequest("GET", "/v1/models?page_size=1000"),
    env=("COHERE", "CO"),
    default_models=("command-a-03-2025",),
    embed_batch=96,
    embed_model="embed-v4.0",
    context_windows={"command-a-03-2025": 288_000, "command-a": 256_000, "command-r": 128_000},
)
