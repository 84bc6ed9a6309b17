"""Anthropic's Messages API.

dialect   the client side: encode (turns, files, server_tools), decode (blocks)
server    the server side: parse, rules, render, errors
values    what goes back with a request and is no block: citations, containers, callers
"""
