"""Google's Gemini API (generateContent).

dialect   the client side: encode, decode (framing, values, partial_args, sources)
server    the server side: parse (schema), rules, render, errors
both      logprobs
"""
