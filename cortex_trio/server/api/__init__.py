"""The API side of the server: requests of clients become calls of the gateway, answers become responses.

routes    which operation a request is, and what it gets
ingress   the APIs that are served, a table
options   which options of one API another can do without, a table
inbound   one request, read
names     what a client may name as a model
answers   asks for one answer and sends it
frames    one streamed answer as bytes
tokens    counts of tokens, and estimates
errors    errors in the shape of each API
"""
