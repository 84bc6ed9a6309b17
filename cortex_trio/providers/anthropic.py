"""Anthropic: the Messages dialect, key in `x-api-key`, a dated version header. Facts: Anthropic API reference."""

from ..wire.anthropic_messages.dialect import AnthropicMessages
from ..wire.codec import HttpRequest
from .provider import Auth, Provider

ANTHROPIC = Provider(
    name="anthropic",
    base_url="https://api.anthropic.com",
    dialect=AnthropicMessages(),
    priority=10,
    timeout=60.0,
    auth=Auth("x-api-key", ""),
    health=HttpRequest("GET", "/v1/models?limit=1"),
    models=HttpRequest("GET", "/v1/models?limit=1000"),
    env=("ANTHROPIC",),
    default_models=("claude-sonnet-5-5",),
    prefill=("claude-3", "claude-haiku-4", "claude-sonnet-4-0", "claude-sonnet-4-2", "claude-sonnet-4-5"),
    headers={"anthropic-version": "2023-06-01"},
    context_windows={
        "claude-haiku-4-5": 200_000,
        "claude-opus-4-6": 1_000_000,
        "claude-opus-4-7": 1_000_000,
        "claude-opus-4-8": 1_000_000,
        "claude-sonnet-4-6": 1_000_000,
        "claude-fable-5": 1_000_000,
        "claude-opus-5": 1_000_000,
        "claude-sonnet-5": 1_000_000,
        "claude-haiku-5": 1_000_000,
    },
)
