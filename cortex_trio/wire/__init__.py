"""Dialects: translations between our values and the API of a provider, both sides of each. Pure: no clock, no socket.

codec, server                     what a dialect offers: the client side, the server side
chat_completions, responses, anthropic_messages, gemini, cohere_chat, ollama_chat   one package for each API
conformance                       checks any dialect, also a user's own

Shared by the dialects:

sse, sse_decoder, ndjson, json_array, framing, unframed_errors    from bytes to events and lines
payload, content, finish, usage, logprobs, lists                  reading what a server sent
history, options, strict_schema, openai_tools                     preparing a request
own_fields                                                        what goes back as it came
unknown_fields                                                    what a server does not know of what a dialect adds
reading, rules, server_base                                       reading what a client sent
raw_body, forwarding                                              passing on what a client or a server sent
writing, held_calls, openai_errors, xai_errors                    rendering a response
"""
