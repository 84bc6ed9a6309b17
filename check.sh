#!/usr/bin/env bash
# What must pass before a change is merged. Arguments go to pytest.
# CORTEX_TESTS="" ./check.sh leaves nothing out, neither slow tests nor files: continuous integration runs it so.
set -euo pipefail
cd "$(dirname "$0")"
code=(cortex_trio tests examples benchmarks docs)

# Without byte code, every pytest process compiles all modules and rewrites all tests anew.
unset PYTHONDONTWRITEBYTECODE

# flake8-async takes three minutes for all files. Its four rules are about `yield` and `finally` in asynchronous code, and
# about handlers that catch Cancelled, so a file without these cannot break one.
async_files() {
    if [ -z "${CORTEX_TESTS-not slow}" ]; then
        find "${code[@]}" -name '*.py'
        return
    fi
    find "${code[@]}" -name '*.py' -exec grep -l 'async def' {} + | xargs grep -lE '\b(yield|finally)\b'
    find "${code[@]}" -name '*.py' -exec grep -lE '^ *except(:|.*\b(BaseException|Cancelled|KeyboardInterrupt|SystemExit))' {} +
}

ruff format --check "${code[@]}"
ruff check "${code[@]}"
async_files | sort -u | xargs -n 15 -P "$(nproc)" flake8-async --enable=ASYNC101,ASYNC102,ASYNC103,ASYNC119
mypy & # beside pyright: each of them uses one core
pyright
wait $!
pytest -q -n auto --dist worksteal -m "${CORTEX_TESTS-not slow}" "$@"
