"""The failover exam: thirty things providers do to a gateway, and what must happen then.

S01 to S16 are the scenarios of the public FailoverBench; S17 to S30 are our own. Each is a function of a `Stage`:
a primary that misbehaves in one dialect, a fallback in another, a gateway before both, seconds that are virtual.

stage      where a scenario takes place, and how it says that something does not hold
before     the primary refuses or fails before it has said anything
within     it fails inside a stream that began well
lasting    what shows over minutes, under load, when somebody leaves or dies
hostile    answers that are no answers
scorecard  all of them, for every dialect
outside    the first sixteen, for any gateway that is reached over HTTP
"""
