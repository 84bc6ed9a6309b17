"""What several processes share through a store, and the actor that carries it.

cluster         the actor: keeps a link to the store open
state           what is shared; outlives the actor
cooldowns       which cooldowns others do not know yet, and what theirs change here
cooldown_facts  the names and texts of shared cooldowns
breakers        which open breakers others do not know yet, and what theirs change here
limits          limits that several processes use up together
totals          sums over all processes
probes          which process makes the trial of a half-open breaker
"""
