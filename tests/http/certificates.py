"""TLS contexts of test servers and their clients, for all tests.

`localhost.pem` contains a certificate for localhost and its key, made for these tests. It is no secret.
"""

import ssl
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("localhost.pem")
EXPIRED = Path(__file__).with_name("expired.pem")


def client_context() -> ssl.SSLContext:
    """Return a context that trusts the test servers."""
    return ssl.create_default_context(cafile=CERTIFICATE)


def server_context(
    certificate: Path = CERTIFICATE, *, client: Path | None = None, alpn: tuple[str, ...] = ()
) -> ssl.SSLContext:
    """Return a context of a server.

    Args:
        certificate: of the server, with its key.
        client: a CA file; clients must show a certificate signed by it (mTLS). None: clients show none.
        alpn: the protocols that the server offers; empty: it does no ALPN.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client)
    context.load_cert_chain(certificate)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if client is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
