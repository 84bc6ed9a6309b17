"""What the gateway costs, measured against what one could do without it. Run: `python -m benchmarks`.

Everything is a ratio within one run: CPU time (user and system) of the client's process, medians of rounds in
which the clients take turns, against one mock upstream in a process of its own. Absolute figures say more about
the machine than about the code.

    upstream     the mock: an HTTP server whose behaviour is written in the path of each request
    workload     what one round asks for
    clients/     one file for each client that is compared, all with the same two methods
    child        a client's process: does a round when it is told to, and says what it cost
    rounds       the parent's side: starts the processes, lets them take turns, takes medians
    suites       what is measured, beside which goals
    growth       what must not grow: selection, key rings
    goals        what the figures should be
    report       tables and JSON; chart, the SVG
"""
