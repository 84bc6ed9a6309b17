#!/usr/bin/env bash
# What must hold before a change lands. Extra arguments go to pytest. CORTEX_TESTS="" ./check.sh runs the slow tests, too.
set -euo pipefail
cd "$(dirname "$0")"
code=(cortex_trio tests examples benchmarks docs)
ruff format --check "${code[@]}"
ruff check "${code[@]}"
find "${code[@]}" -name '*.py' -print0 | xargs -0 -n 60 -P "$(nproc)" flake8-async --enable=ASYNC101,ASYNC102,ASYNC103,ASYNC119
mypy
pyright
pytest -q -n auto --dist worksteal -m "${CORTEX_TESTS-not slow}" "$@"
