# What the set-up scripts share; sourced, never run.
# shellcheck shell=sh
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
logs=$root/.tools/log
mkdir -p "$logs" .tools/bin

# The machine's own certificates, because a company's proxy is known there and not in uv's bundle.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf 'set-up: %s\n' "$*"; }

fail() {
    printf 'set-up: %s\n' "$*" >&2
    exit 1
}

# quietly NAME COMMAND...: steps run side by side, so each keeps its output to itself unless it fails.
quietly() {
    log=$logs/$1.log
    shift
    "$@" >"$log" 2>&1 </dev/null && return
    tail -n 30 "$log" >&2
    fail "failed: $* (all of it: $log)"
}

# at_least WANTED HAVE: whether version HAVE is WANTED or newer.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# The interpreter below any virtual environment or shim, because .venv must not be made from itself.
base_python() {
    "${PYTHON:-python3}" -c 'import os, sys; print(os.path.realpath(sys._base_executable))' 2>/dev/null ||
        fail "no python3 here: install it, or name one: make PYTHON=/path/to/python3"
}
