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
# shellcheck disable=SC2086 # words are wanted
download() { quietly "$1" flock "$root/.tools/apt.lock" apt-get -o APT::Sandbox::User=root download $packages; }
packages=
for each in nginx wrk; do
    if command -v "$each" >/dev/null; then
        ln -s "$(command -v "$each")" ".tools/rivals/bin/$each"
    else
        packages="$packages $each"
    fi
done
if [ -n "$packages" ]; then
    command -v apt-get >/dev/null || fail "the bench needs$packages: put them on PATH"
    case $packages in *wrk*) packages="$packages libluajit-5.1-2" ;; esac
    mkdir "$debian"
    cd "$debian"
    if ! (download rivals-fetch) 2>/dev/null; then
        [ "$(id -u)" = 0 ] || fail "apt knows not all of$packages: run 'sudo apt-get update', then make again"
        quietly rivals-update flock "$root/.tools/apt.lock" apt-get update
        download rivals-fetch
    fi
    for each in *.deb; do
        quietly rivals-unpack dpkg-deb --extract "$each" .
    done
    libraries=$(dirname "$(find "$debian/usr/lib" -name 'libluajit-5.1.so*' 2>/dev/null | head -n 1)")
    for each in usr/bin/wrk usr/sbin/nginx; do
        [ -x "$each" ] || continue
        program=$root/.tools/rivals/bin/${each##*/}
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$libraries" "$debian/$each" >"$program"
        chmod +x "$program"
    done
    cd "$root"
fi
printf '%s\n' "$key" >.tools/rivals/.key
