"""Workers: which requests each one admits, with which API key, and in which state it is.

worker          admission to one provider: the actor and its state
breaker         the circuit breaker of a worker: closed, open, half-open
keys            which API key is used next: the key ring and its actor
cooldowns       what is not used for a while, and until when
endpoint        configuration and connections of a worker: a snapshot that a reload replaces
dialect_guard   a bug in a dialect is a failure of one attempt
registry        the table of all workers and its actor
status          the state of workers and of the gateway, for users
publisher       events and log lines for what has changed in a worker
health_monitor  the actor that starts health checks
calls           calls to actors that may be restarting
"""
