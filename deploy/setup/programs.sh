#!/bin/sh
# programs.sh NAME...: what deploy/tools/NAME.in lists, into .tools/NAME: programs that tests run beside a node, each
# set in an environment of its own, because they want other versions of the same packages. No node needs them.
. "$(dirname "$0")/lib.sh"

for name in "$@"; do
    lock=deploy/tools/$name.lock
    key=$(cksum <"$lock")
    [ "$(cat ".tools/$name/.key" 2>/dev/null)" = "$key" ] && continue
    say "installing $(grep -c == "$lock") locked Python packages into .tools/$name, for the tests"
    rm -rf ".tools/$name"
    quietly "$name" .venv/bin/uv venv --python .venv/bin/python ".tools/$name"
    quietly "$name" .venv/bin/uv pip sync --python ".tools/$name/bin/python" --compile-bytecode \
        --require-hashes "$lock"
    printf '%s\n' "$key" >".tools/$name/.key"
done
