#!/usr/bin/env bash
# Everything that must hold before a change lands. Extra arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")"
code=(cortex_trio tests examples benchmarks)
ruff format --check "${code[@]}"
ruff check "${code[@]}"
flake8 --select ASYNC101,ASYNC102,ASYNC103,ASYNC119 --max-line-length 200 "${code[@]}"
mypy
pyright
pytest -q "$@"
