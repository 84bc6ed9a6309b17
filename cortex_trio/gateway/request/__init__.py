"""One call, from the messages to the last event of the answer.

options          options of one call
jobs             what is asked: a chat, its continuation, embeddings
stream           the answer, as the user reads it
failover         one attempt after the other
admission        the permit and the API key of an attempt
attempt          one request to one worker
non_streaming    whole JSON where a stream was asked for
continuation     the seam between an interrupted answer and its continuation
errors           what is raised when no worker answered
"""
