#!/bin/sh
# .venv and uv in it, uv being one of the locked packages that everything else is installed by.
. "$(dirname "$0")/lib.sh"

python=$(base_python)
version=$("$python" -c 'import platform; print(platform.python_version())')
# A virtual environment is broken by another interpreter and by being moved.
made_of="$python $version $root"
[ "$(cat .venv/.made-of 2>/dev/null)" = "$made_of" ] && [ -x .venv/bin/uv ] && exit

say "making .venv with Python $version"
quietly venv "$python" -m venv --clear .venv
awk '/^[^ ]/ { uv = /^uv==/ } uv' requirements.lock >.venv/uv.lock
quietly uv .venv/bin/python -m pip install --require-hashes --only-binary :all: -r .venv/uv.lock
printf '%s\n' "$made_of" >.venv/.made-of
