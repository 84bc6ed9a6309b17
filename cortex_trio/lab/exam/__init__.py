"""The failover exam: 34 scenarios in which providers fail, and what a gateway must do then.

S01 to S16 are the scenarios of the public FailoverBench; S17 to S34 are our own. Each scenario has parts. A part is a
function of a `Setup`: a primary that fails, in one dialect; a fallback, in another dialect; a gateway in front of both.
In memory its seconds are virtual; over sockets they are real, and shorter.

setup                the providers and the gateway of a part, and its checks
scenario             what a scenario consists of
rate_limits          the primary is rate limited
shared_limit         all workers are rate limited for a second
before_content       it fails or rejects the request before content
slow_responses       it sends nothing in time
broken_streams       its stream breaks
stream_contents      streams with unusual ends, tool calls or slices
over_minutes         behaviour that shows over minutes
closing              callers leave, servers close, readers are slow
many_requests        many workers and requests, while actors are killed
key_echoes           a provider repeats the API key
malformed_responses  bodies that are no response
single_worker        there is no other worker
reading              how the parts read streams
scorecard            runs all scenarios with every dialect
outside              the setup for any gateway that has an HTTP endpoint, and its client
outside_scenarios    the scenarios that are run against it
"""
