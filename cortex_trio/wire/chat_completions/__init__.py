"""OpenAI's Chat Completions, and every server that is compatible with it.

dialect   the client side: encode, decode (delta, calls, pieces)
server    the server side: parse, rules, render; openai, groq, xai: what those change
          errors: wire/openai_errors.py, wire/xai_errors.py
both      content (texts, images, files), message_fields (what goes back as it came), logprobs
"""
