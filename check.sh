#!/usr/bin/env bash
# What must pass before a change is merged. Arguments go to pytest.
# CORTEX_TESTS="" ./check.sh leaves no test out: continuous integration runs it so.
set -euo pipefail
cd "$(dirname "$0")"
code=(cortex_trio tests examples benchmarks docs)

# Without byte code, every pytest process compiles all modules and rewrites all tests anew.
unset PYTHONDONTWRITEBYTECODE

check_async() {
    local files
    files=$(python tests/async_files.py "${code[@]}")
    xargs -r flake8-async --enable=ASYNC101,ASYNC102,ASYNC103,ASYNC119 <<< "$files"
}

checkers() {
    check_async
    mypy
    pyright
}

ruff format --check "${code[@]}"
ruff check "${code[@]}"

# The checkers run beside the tests, which often wait for a subprocess or a socket. Their output comes when they are done.
output=$(mktemp)
trap 'rm -f "$output"' EXIT
(set -e; checkers) > "$output" 2>&1 &
checked=0 tested=0
pytest -q -n auto --dist worksteal -m "${CORTEX_TESTS-not slow}" "$@" || tested=$?
wait $! || checked=$?
cat "$output"
exit $((tested ? tested : checked))
