"""Anthropic's Messages API.

dialect   the client side: encode, decode (blocks)
server    the server side: parse, rules, render, errors
"""
