"""Ollama's native chat API.

dialect   the client side: encode, decode
server    the server side: parse, rules, render, errors
"""
