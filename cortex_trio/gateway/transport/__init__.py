"""How requests leave and responses arrive, and what an error of a transport proves.

connections         the connections of one worker
default_transport   our own transport, or httpx's for a proxy or HTTP/2
foreign             a transport of the user's, of httpx or httpx2
response            an open response
redirects           which redirects are followed
errors              the Failure for an exception of a transport: one table
error_response      the Failure for an error status with its body
"""
