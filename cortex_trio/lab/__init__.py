"""Proofs of the gateway: the exam and the simulated worlds. Loaded by the commands `exam` and `simulate` only."""
