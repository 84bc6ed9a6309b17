"""Gemini: key in `x-goog-api-key`, never in the URL. Facts: Generative Language API reference."""

from ..wire.codec import HttpRequest
from ..wire.gemini.dialect import Gemini
from .provider import Auth, Provider

GEMINI = Provider(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    dialect=Gemini(),
    priority=20,
    auth=Auth("x-goog-api-key", ""),
    health=HttpRequest("GET", "/models?pageSize=1"),
    models=HttpRequest("GET", "/models?pageSize=1000"),
    env=("GEMINI", "GOOGLE"),
    default_models=("gemini-3.8-flash",),
    embed_batch=100,
    embed_model="gemini-embedding-001",
    context_windows={"gemini-": 1_048_576},
)
