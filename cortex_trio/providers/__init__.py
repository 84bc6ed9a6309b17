"""Who: one file per provider, nothing but data. `PROVIDERS` finds them by name."""

from collections.abc import Mapping
from types import MappingProxyType

from .anthropic import ANTHROPIC
from .cohere import COHERE
from .gemini import GEMINI
from .groq import GROQ
from .ollama import OLLAMA
from .openai import OPENAI
from .openai_compatible import OPENAI_COMPATIBLE
from .openai_responses import OPENAI_RESPONSES
from .provider import Auth, Provider
from .xai import XAI
from .xai_responses import XAI_RESPONSES

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        provider.name: provider
        for provider in (
            OPENAI,
            OPENAI_RESPONSES,
            ANTHROPIC,
            GROQ,
            GEMINI,
            XAI,
            XAI_RESPONSES,
            COHERE,
            OLLAMA,
            OPENAI_COMPATIBLE,
        )
    }
)

__all__ = ["PROVIDERS", "Auth", "Provider"]
