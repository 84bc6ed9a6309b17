"""Bugs in the HTTP client."""

from .mutant import Mutant, exam
from .operators import Before, Drops, Reads, Returns

KEPT = "tests/http/test_kept_connections.py"
TRANSPORT = "tests/gateway/test_transport.py"
UPLOADS = "tests/http/test_uploads.py"

MUTANTS = (
    Mutant(
        "a connection is reused though its response was not read to the end",
        "http.exchange:Exchange.aclose",
        Reads("done", "True"),
        "no request receives the remaining bytes of another response",
        (TRANSPORT, exam("S17", "S29")),
    ),
    Mutant(
        "a reused connection that was closed while idle fails its request",
        "http.pool:ConnectionPool",
        Reads("unread", "False"),
        "a reused connection that was closed while idle is replaced, unseen by the caller",
        (TRANSPORT, exam("S29")),
    ),
    Mutant(
        "a reused connection that was closed later is replaced as well",
        "http.pool:ConnectionPool",
        Reads("unread", "True"),
        "a request that the server can have read is not sent again without being counted",
        (KEPT,),
    ),
    Mutant(
        "half a TLS record is not noticed",
        "http.tls:TLSStream",
        Reads("is_inside_record", "False"),
        "bytes behind a response never become the next one",
        (KEPT,),
    ),
    Mutant(
        "a rejected upload is sent to its end",
        "http.exchange:Exchange.start",
        Reads("status", "200"),
        "an upload ends when the server has rejected it",
        (UPLOADS,),
    ),
    Mutant(
        "a connection is reused though its request was not sent to the end",
        "http.exchange:Exchange.aclose",
        Reads("_sent_at", "0.0"),
        "a connection with half a request on it is not used again",
        (UPLOADS, KEPT),
    ),
    Mutant(
        "a shortage on this machine counts against the server",
        "http.causes:is_our_shortage",
        Returns("False"),
        "what runs out on this machine counts against no worker",
        ("tests/http/test_causes.py",),
    ),
    Mutant(
        "a request is sent again though a response had begun",
        "http.exchange:Exchange._early_end",
        Before("has_begun = False"),
        "a request is repeated only if no byte of a response came",
        (TRANSPORT,),
    ),
    Mutant(
        "the pool does not get a slot back after an error",
        "http.pool:ConnectionPool.request",
        Drops("_free_slot"),
        "a connection that failed does not keep its slot in the pool",
        (TRANSPORT,),
    ),
)
