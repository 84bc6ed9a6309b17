"""The HTTP endpoint in front of a gateway: one base URL for programs that are not written in Trio.

exchange   one request and the response to it, as routes see them
api        the routes that answer as an API does
"""
