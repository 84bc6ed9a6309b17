#!/usr/bin/env bash
# What must pass before a change is merged. Arguments go to pytest.
# CORTEX_TESTS="" ./check.sh leaves no test out: continuous integration runs it so.
set -euo pipefail
cd "$(dirname "$0")"
code=(cortex_trio tests examples benchmarks docs)

# Without byte code, every pytest process compiles all modules and rewrites all tests anew.
unset PYTHONDONTWRITEBYTECODE

# flake8-async takes three minutes for all files. Its four rules are about `yield` and `finally` in asynchronous code, and
# about handlers that catch Cancelled, so a file without these cannot break one. A file that has passed is not read
# again before it changes, as with mypy.
passed=.flake8_async_cache
async_files() {
    find "${code[@]}" -name '*.py' -exec grep -l 'async def' {} + | xargs grep -lE '\b(yield|finally)\b'
    find "${code[@]}" -name '*.py' -exec grep -lE '^ *except(:|.*\b(BaseException|Cancelled|KeyboardInterrupt|SystemExit))' {} +
}

changed_async_files() {
    async_files | sort -u | if [ -e "$passed" ]; then xargs -I{} find {} -newer "$passed"; else cat; fi
}

check_async() {
    touch "$passed.new" # before the files are read: a change meanwhile is newer
    changed_async_files | xargs -r -n 15 flake8-async --enable=ASYNC101,ASYNC102,ASYNC103,ASYNC119 || return
    mv "$passed.new" "$passed"
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
