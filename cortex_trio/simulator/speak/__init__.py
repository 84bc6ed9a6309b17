"""The providers' side of every dialect. `SPEAKERS` finds one by the provider's name."""

from collections.abc import Mapping
from types import MappingProxyType

from .anthropic import Anthropic
from .chat_completions import ChatCompletions, OpenAI
from .cohere import Cohere
from .gemini import Gemini
from .groq import Groq
from .ollama import Ollama
from .speaker import Speaker
from .xai import XAI

SPEAKERS: Mapping[str, Speaker] = MappingProxyType(
    {
        "openai": OpenAI(),
        "anthropic": Anthropic(),
        "groq": Groq(),
        "gemini": Gemini(),
        "xai": XAI(),
        "cohere": Cohere(),
        "ollama": Ollama(),
        "openai_compatible": ChatCompletions(),
    }
)

__all__ = ["SPEAKERS", "Speaker"]
