"""Simulated worlds: providers, calls and faults drawn from a seed, a gateway among them, invariants that are checked.

plan             what will happen in one world: providers, faults, interventions
load             … and calls: when, for what, with which options
dense_plan       a world of one minute in which everything overlaps
fixtures         prompts, answers and tool calls that follow from the number of a call
faults           the catalogue of faults
faulty_provider  the script of one provider: its quota, its faults
callers          the tasks that make the calls, and the record of each call
recorder         what was observed: the trace, counts, violated invariants
call_invariants  what must be true of each call
invariants       what must be true of the gateway
ledger           what the providers saw, compared with what the gateway reported
bare_client      what one client without a gateway would have got
giving_up        no call is refused while a worker could serve it
interventions    what an operator and a crash do to a running gateway
run              one world from its beginning to its end
timeline         one run as an SVG
campaign         many runs, in several processes
"""
