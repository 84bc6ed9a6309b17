"""How a request becomes an answer.

Down: cortex → stream → failover (rules: plan) → admission → attempt → transport.
Beside: config and secrets (what we are told), selection, strategies and roster (who, in which order), verdict (what
is told when nobody answered), keys, worker, breaker, registry (who may), health and status (how they are), runtime
(what everybody shares), tree (who watches over it).
"""
