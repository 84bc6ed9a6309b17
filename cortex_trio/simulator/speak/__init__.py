"""The providers' side of every dialect. `SPEAKERS` finds one by the provider's name."""

from collections.abc import Mapping
from types import MappingProxyType

from .chat_completions import XAI, ChatCompletions, Groq, OpenAI
from .speaker import Speaker

SPEAKERS: Mapping[str, Speaker] = MappingProxyType(
    {"openai": OpenAI(), "groq": Groq(), "xai": XAI(), "openai_compatible": ChatCompletions()}
)

__all__ = ["SPEAKERS", "Speaker"]
