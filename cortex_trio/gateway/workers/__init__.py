"""Workers: which of them may be asked, with which API key, and how they are.

worker          admission to one provider: the actor and its state
breaker         closed, open, half-open
keys            which API key is used next
cooldowns       what is not asked for a while, and until when
endpoint        configuration and connections of a worker: a snapshot, replaced by a reload
dialect_guard   a bug in a dialect is a failure of one attempt
registry        which workers there are
status          how a worker is, for users
calls           health_monitor  has idle workers checked in regular rounds
    calls to actors that may be restarting
"""
