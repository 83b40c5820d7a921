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

# unpack_debian NAME FOLDER PACKAGE...: Debian's packages in FOLDER, not installed: many start services of their own.
unpack_debian() (
    name=$1
    mkdir -p "$2"
    cd "$2"
    shift 2
    download() { quietly "$name-fetch" flock "$root/.tools/apt.lock" apt-get -o APT::Sandbox::User=root download "$@"; }
    command -v apt-get >/dev/null || fail "no apt-get here: put on PATH yourself what is in $*"
    if ! (download "$@") 2>/dev/null; then
        [ "$(id -u)" = 0 ] || fail "apt knows not all of $*: run 'sudo apt-get update', then make again"
        quietly "$name-update" flock "$root/.tools/apt.lock" apt-get update
        download "$@"
    fi
    for each in *.deb; do
        quietly "$name-unpack" dpkg-deb --extract "$each" .
        rm "$each"
    done
)

# folder_of PATTERN FOLDER...: where the first file is that is called so; nothing if there is none.
folder_of() {
    pattern=$1
    shift
    found=$(find "$@" -name "$pattern" 2>/dev/null | head -n 1)
    [ -z "$found" ] || dirname "$found"
}

# launcher FILE PROGRAM FOLDERS: FILE runs an unpacked PROGRAM with the libraries of FOLDERS, and what it calls.
launcher() {
    printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s PATH="$PATH:%s"\nexec %s "$@"\n' "$3" "${2%/*}" "$2" >"$1"
    chmod +x "$1"
}
