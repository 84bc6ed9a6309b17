"""One call, from the messages to the last event of the answer.

options          the options of a chat, and their checks
jobs             what is asked for: a chat, its continuation, embeddings
forwarding       a request that a client of one API has sent
call             the id, the ledger and the events of a call
stream           the answer, as the user reads it
text             the text of an answer alone
typed            the answer as a value of a type, asked for once more if it does not fit
failover         one attempt after the other
candidates       the workers that a call may ask, read from the shared state
embedding        the requests of one call of `embed`
hedging          two attempts at once
admission        the permit and the API key of an attempt
prepared         all that an attempt needs before it sends
timeouts         the time limits of an attempt
attempt          one request to one worker
opening          its first half: connect, send, status, headers
reading          its second half: the body, within deadlines
decoding         the body as events
non_streaming    a whole JSON object where a stream was asked for
surrogates       joins the halves of a character that was cut in two
continuation     removes what a continuation repeats
errors           what is raised when no worker answered
"""
