#!/bin/sh
# Real index servers and a real proxy for the tests, in an environment of their own: nothing of a node needs them.
. "$(dirname "$0")/lib.sh"

lock=deploy/tools/index-servers.lock
key=$(cksum <"$lock")
[ "$(cat .tools/index-servers/.key 2>/dev/null)" = "$key" ] && exit

say "installing devpi-server, pypiserver and proxy.py into .tools/index-servers, for the tests"
rm -rf .tools/index-servers
quietly index-servers .venv/bin/uv venv --python .venv/bin/python .tools/index-servers
quietly index-servers .venv/bin/uv pip sync --python .tools/index-servers/bin/python --require-hashes "$lock"
printf '%s\n' "$key" >.tools/index-servers/.key
