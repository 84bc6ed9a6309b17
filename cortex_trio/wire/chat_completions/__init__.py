"""OpenAI's Chat Completions, and every server that is compatible with it."""
