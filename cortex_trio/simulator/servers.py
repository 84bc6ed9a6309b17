"""The providers' side of every dialect. `SPEAKERS` finds one by the provider's name."""

from collections.abc import Mapping
from types import MappingProxyType

from ..wire.anthropic_messages.render import Anthropic
from ..wire.chat_completions.groq import Groq
from ..wire.chat_completions.render import ChatCompletions
from ..wire.cohere_chat.render import Cohere
from ..wire.gemini.render import Gemini
from ..wire.ollama_chat.render import Ollama
from ..wire.responses.render import OpenAIWithResponses, XAIWithResponses
from ..wire.server import Speaker

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
