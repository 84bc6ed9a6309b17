"""Requests leave, answers come back, and errors become Failures.

connections      the connections of one endpoint: our own transport, or one of the user's
foreign          a transport of the user's, httpx's or httpx2's
redirects        which redirects are followed
errors           what an exception of a transport proves: one table
error_response   what a status and an error body prove
"""
