"""The HTTP server in front of a gateway: one base URL for programs that are not written in Trio.

    async with open_cortex() as cortex, open_server(cortex, "127.0.0.1", 8080, keys=[...]) as server:
        print(server.url)

serving        opens a server and ends it
tree           its part of the supervision tree: a listener, a supervisor of connections
listener       listening sockets
connection     one client: one request after the other
drain          which connections are idle and which are busy, when the server is stopped
head, body     what is read of a request; pure
outgoing       the response to one request
front          decides from a head what becomes of a request
own_routes     health, metrics, the live page
virtual_keys   the keys of clients, and their limits
admission      which key a request has, and whether its limits allow it now
counters       what keys have used
exchange       one request and the response to it, as routes see them
api            the routes that answer as an API does
config_file    the configuration of `cortex-trio serve`
processes      several processes on one port
"""

from .serving import Server, open_server
from .virtual_keys import Budget, VirtualKey

__all__ = ["Budget", "Server", "VirtualKey", "open_server"]
