"""Which worker is asked next. Reads no clock and no global randomness; only `wait_queue` waits.

eligibility  whether a worker may be asked for a request
strategies   in which order workers are asked
group        the candidates for one kind of request, arranged so that choosing is cheap
index        all workers, and their groups
selection    the choice: the first worker in the order that may be asked
plan         what a call does after an attempt: ask another worker, wait, give up
readiness    when a worker may be asked again
retries      how many retries the gateway affords, and the pauses before them
wait_queue   the calls that wait for a worker
"""
