"""HTTP/1.1 client connections for Trio: parser, sockets, pool, deadlines. Knows nothing of models or providers.

transport          `PooledTransport`: these connections behind httpx's transport interface
pool               which connection a request uses
exchange           one request and its answer on one connection
http1              the parser
content_encoding   packed bodies
deadlines          one timer for many reads
network            new connections: TCP and TLS
sockets            byte streams; tls is the one with encryption
certificates       TLS contexts
causes             why there is no connection
"""
