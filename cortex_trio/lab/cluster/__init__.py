"""Simulated worlds of several gateways that share a store. A seed repeats its run.

world       runs one: gateways, providers, load, faults of providers and of the store
invariants  what must hold in it
record      what has happened in it
"""
