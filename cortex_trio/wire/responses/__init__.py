"""OpenAI's Responses API, which xAI has as well.

dialect   the client side: encode, decode (entries, items, calls, parts)
server    the server side: parse, rules, render (growing); openai, xai: what those change
          errors: wire/openai_errors.py, wire/xai_errors.py
both      content (images, files), actions (calls that the caller answers)
"""
