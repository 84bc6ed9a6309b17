"""The command line: a user of the gateway like any other program, with the public names and a terminal.

arguments   what can be typed: the argparse parser
commands    the commands by name, loaded when they run
running     runs a command: errors become one sentence, signals cancel it
screen      output on a terminal: colours, streamed text, tables
facts       attempts, health and events as lines and tables
chat, status, demo, exam, simulate, observe   one command each; story is the data of the demo
observe_load, observe_history, observe_view   the parts of observe: a demo load, rates, the frame drawn with rich
"""
