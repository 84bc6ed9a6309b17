"""The providers' side of every dialect. `SPEAKERS` finds one by the provider's name."""

from collections.abc import Mapping
from types import MappingProxyType

from .anthropic import Anthropic
from .chat_completions import ChatCompletions
from .cohere import Cohere
from .gemini import Gemini
from .groq import Groq
from .ollama import Ollama
from .responses import OpenAIWithResponses, XAIWithResponses
from .speaker import Speaker

_OPENAI, _XAI = OpenAIWithResponses(), XAIWithResponses()  # one server each, whichever API is asked

SPEAKERS: Mapping[str, Speaker] = MappingProxyType(
    {
        "openai": _OPENAI,
        "openai_responses": _OPENAI,
        "anthropic": Anthropic(),
        "groq": Groq(),
        "gemini": Gemini(),
        "xai": _XAI,
        "xai_responses": _XAI,
        "cohere": Cohere(),
        "ollama": Ollama(),
        "openai_compatible": ChatCompletions(),
    }
)

__all__ = ["SPEAKERS", "Speaker"]
