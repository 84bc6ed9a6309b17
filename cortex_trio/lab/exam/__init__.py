"""The failover exam: 34 things providers do to a gateway, and what must happen then.

S01 to S16 are the scenarios of the public FailoverBench; S17 to S34 are our own. Each has parts, and each part is a
function of a `Stage`: a primary that misbehaves in one dialect, a fallback in another, a gateway before both. In memory
its seconds are virtual; over sockets they are real, and shorter.

stage      where a scenario takes place, and how it says that something does not hold
scenario   what a scenario is made of
limits     the primary says that it was asked too much
before     it fails or refuses before it has said anything
late       it says nothing in time
broken     its answer breaks off
within     streams that end oddly, bring tool calls, or come in pieces
lasting    what shows over minutes
leaving    callers, readers or servers leave, or do not keep up
crowds     many of everything, while actors die
echoes     a provider repeats the key
hostile    answers that are no answers
reading    how scenarios read streams
scorecard  all of them, for every dialect
outside    the first sixteen, for any gateway that is reached over HTTP
"""
