"""How a request becomes an answer. The packages, from the highest; each imports only those below it:

cortex        the object users hold
reconfigure   workers are added, removed and configured anew
tree          the supervision tree
health        checks of idle workers
request/      one call: stream, failover, attempt
snapshots     the gateway at one moment, as plain values
runtime       what all calls share
routing/      which worker is asked next
workers/      admission, API keys, cooldowns, breakers, status
transport/    requests leave and answers come back; what an error proves
settings/     configuration, environment, secrets
"""
