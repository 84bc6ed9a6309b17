"""State that several processes share: the protocol of a store, in memory, and in Valkey. Knows no gateway.

entry     one shared fact, and which of two facts of one name counts
store     the protocol of a store
memory    a store in the memory of this process
url       the address of a Valkey or Redis server
lua       the scripts that run inside the server
valkey    a store in a Valkey or Redis server
socket_store  a store in another process of this machine
"""

from .entry import Entry, replaces
from .memory import MemoryStore
from .socket_store import SocketStore, serve_link
from .store import Claim, Store, StoreLink, StoreUnavailable
from .url import StoreUrl
from .valkey import ValkeyStore

__all__ = [
    "Claim",
    "Entry",
    "MemoryStore",
    "SocketStore",
    "Store",
    "StoreLink",
    "StoreUnavailable",
    "StoreUrl",
    "ValkeyStore",
    "replaces",
    "serve_link",
]
