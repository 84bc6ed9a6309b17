"""CPU time of the gateway, compared with clients without a gateway. Run: `python -m benchmarks`.

All results are ratios within one run: CPU time (user and system) of the client's process, medians of rounds in which
the clients take turns, with one mock provider in its own process. Absolute figures depend more on the machine than on
the code.

    upstream     the mock: an HTTP server whose behaviour is written in the path of each request
    workload     the requests of one round
    clients/     one file for each client that is compared, all with the same two methods
    child        a client's process: runs a round on request, and reports its cost
    rounds       the parent's side: starts the processes, lets them take turns, takes medians
    suites       what is measured
    growth       what must not grow: selection, API keys
    goals        the goals for the figures
    report       tables and JSON; chart, the SVG
"""
