"""Agents on top of a gateway: the tool loop, and a history that stays valid."""
