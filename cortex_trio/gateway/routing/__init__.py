"""Which worker is asked next. Pure.

selection    which workers may serve a request
strategies   in which order
index        all workers, arranged so that choosing is cheap
plan         what happens after an attempt: ask another, wait, give up
retries      how many retries the gateway affords
openings     which calls wait for a worker
"""
