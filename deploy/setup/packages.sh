#!/bin/sh
# The locked packages, exactly, and the members of the workspace on top.
. "$(dirname "$0")/lib.sh"

key=$(cat requirements.lock pyproject.toml libs/*/pyproject.toml services/*/pyproject.toml | cksum)
[ "$(cat .venv/.packages 2>/dev/null)" = "$key" ] && exit

say "installing $(grep -c == requirements.lock) locked Python packages into .venv (once, half a minute of it compiles pyfuse3)"
rm -f .venv/.packages
quietly packages .venv/bin/uv pip sync --python .venv/bin/python --compile-bytecode \
    --require-hashes --build-constraints requirements.lock requirements.lock
set --
for member in libs/*/pyproject.toml services/*/pyproject.toml; do
    set -- "$@" --editable "${member%/pyproject.toml}"
done
quietly members .venv/bin/uv pip install --python .venv/bin/python --offline --no-deps "$@"
printf '%s\n' "$key" >.venv/.packages
