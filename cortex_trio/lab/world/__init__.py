"""Whole lives of a gateway: random worlds, drawn from a seed, in which everything breaks and nothing may be lost.

plan        what is going to happen: who is there, what breaks
load        … who asks, for what and how
tales       what is said: everything about a call follows from its number
troubles    the catalogue of what breaks
upstream    one provider of the world: its faults, its quotas, its outages
people      those who ask, and what they saw
chronicle   what was seen: the trace, the counts, the broken laws
laws        what must be true whatever happens
bare        what one bare client would have got
again       a call is not given up while a worker could serve it
life        one world from its beginning to its end
picture     one life as an SVG
campaign    many lives, in several processes
"""
