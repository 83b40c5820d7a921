#!/bin/sh
# What a node's speed is measured beside and with: proxpi in an environment of its own; nginx and wrk from PATH, else
# out of Debian's packages. These are not installed: nginx would start a server of its own.
. "$(dirname "$0")/lib.sh"

lock=deploy/tools/rivals.lock
key=$(cat "$lock" "$0" | cksum)
[ "$(cat .tools/rivals/.key 2>/dev/null)" = "$key" ] && exit

say "installing proxpi, nginx and wrk into .tools/rivals, for the bench"
rm -rf .tools/rivals
quietly rivals .venv/bin/uv venv --python .venv/bin/python .tools/rivals
quietly rivals .venv/bin/uv pip sync --python .tools/rivals/bin/python --require-hashes "$lock"

PATH=$PATH:/usr/sbin
debian=$root/.tools/rivals/debian
packages=
for each in nginx wrk; do
    if command -v "$each" >/dev/null; then
        ln -s "$(command -v "$each")" ".tools/rivals/bin/$each"
    else
        packages="$packages $each"
    fi
done
if [ -n "$packages" ]; then
    case $packages in *wrk*) packages="$packages libluajit-5.1-2" ;; esac
    # shellcheck disable=SC2086 # words are wanted
    unpack_debian rivals "$debian" $packages
    libraries=$(folder_of 'libluajit-5.1.so*' "$debian/usr/lib")
    for each in usr/bin/wrk usr/sbin/nginx; do
        [ ! -x "$debian/$each" ] || launcher ".tools/rivals/bin/${each##*/}" "$debian/$each" "$libraries"
    done
fi
printf '%s\n' "$key" >.tools/rivals/.key
