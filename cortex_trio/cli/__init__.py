"""The command line: a user of the gateway like any other program, with the public names and a terminal.

arguments    what can be typed: the argparse parser
commands     the commands by name, loaded when they run
running      runs a command: errors become one sentence, signals cancel it
screen       output on a terminal: colours, streamed text, tables
wrapping     breaks text at words; progress writes one line again and again
facts        attempts, health and events as lines and tables
prompt       what a user gives: standard input, images, a JSON Schema
choice       the worker that a user wants, and models that are not configured
answer       one answer, printed
conversation chat in a terminal, with history and commands
sources      what the environment configures, and from which variable
chat, embed, models, status, explain, config, keys, completion   one command each
demo, exam, simulate, observe   one command each; story is the data of the demo
simulator    what `python -m cortex_trio.simulator` runs
observe_load, observe_history, observe_view   the parts of observe: a demo load, rates, the frame drawn with rich
"""
