"""Cohere's chat API, version 2.

dialect   the client side: encode, decode (calls)
server    the server side: parse, rules, render, errors
"""
