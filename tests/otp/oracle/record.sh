#!/usr/bin/env bash
# Ask the oracle: run every scenario on the Erlang/OTP found here and write the traces.
# usage: record.sh [OUTPUT]   (default: traces.json beside this script)
# Needs erl and erlc of OTP 25 or later (Debian: erlang-base). Takes ten seconds or so of real time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
output=${1:-$here/traces.json}
compiled=$(mktemp -d)
trap 'rm -rf "$compiled"' EXIT
erlc -Werror -o "$compiled" "$here/oracle.erl"
ERL_CRASH_DUMP_BYTES=0 erl -noshell -pa "$compiled" \
    -eval "oracle:main(\"$here/scenarios.terms\", \"$output\"), halt(0)."
