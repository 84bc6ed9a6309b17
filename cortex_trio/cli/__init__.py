"""The command line: a user of the gateway like any other, with the public names and a terminal.

arguments   what can be typed
running     how a command starts, is interrupted, and ends
screen      what a terminal is told: colours, streamed text, tables
facts       attempts, health and events in words
chat, status, demo   one command each; story is what the demo tells
"""
