"""How a request becomes an answer. The packages, from the highest; each imports only those below it:

cortex        the object users hold
startup       starts and stops all of a gateway
reconfigure   workers are added, changed and removed
tree          the supervision tree
health        checks of idle workers
free_requests requests that cost nothing: health checks, lists of models
request/      one call: stream, failover, attempt
snapshots     the gateway at one moment, as plain values
runtime       what all calls share
sharing/      what several processes share through a store
routing/      which worker is asked next
workers/      admission, API keys, cooldowns, breakers, status
transport/    requests leave and answers come back; what an error proves
settings/     configuration, environment, secrets
"""
