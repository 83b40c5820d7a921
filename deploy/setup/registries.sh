#!/bin/sh
# What tests of images run beside a node: docker-registry, podman and skopeo from PATH, else out of Debian's packages.
# These are not installed: docker-registry and podman would have services of their own from then on.
. "$(dirname "$0")/lib.sh"

wanted="docker-registry podman skopeo"
# Libraries and programs of theirs that a small Debian lacks.
beside="conmon libassuan0 libdevmapper1.02.1 libgpgme11 libsubid4"

folder=$root/.tools/registries
key=$(cksum <"$0")
[ "$(cat "$folder/.key" 2>/dev/null)" = "$key" ] && exit
for each in $(cat "$folder/.unpacked" 2>/dev/null); do rm -f ".tools/bin/$each"; done
missing=
for each in $wanted; do
    command -v "$each" >/dev/null || missing="$missing $each"
done
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null || fail "the tests need$missing: put them on PATH"

say "unpacking Debian's$missing into .tools/registries, for the tests"
rm -rf "$folder"
mkdir -p "$folder/debian"
cd "$folder/debian"
# shellcheck disable=SC2086 # words are wanted
download() { quietly "$1" flock "$root/.tools/apt.lock" apt-get -o APT::Sandbox::User=root download $missing $beside; }
if ! (download registries-fetch) 2>/dev/null; then
    [ "$(id -u)" = 0 ] || fail "apt knows not all of$missing: run 'sudo apt-get update', then make again"
    quietly registries-update flock "$root/.tools/apt.lock" apt-get update
    download registries-fetch
fi
for each in *.deb; do
    quietly registries-unpack dpkg-deb --extract "$each" .
    rm "$each"
done
rm -rf usr/share
libraries=$(dirname "$(find "$folder/debian/usr/lib" -name 'libgpgme.so.11' | head -n 1)")
libraries=$libraries:$(dirname "$(find "$folder/debian/lib" -name 'libdevmapper.so*' | head -n 1)")
for each in $missing; do
    program=$root/.tools/bin/$each
    printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s PATH=$PATH:%s\nexec %s "$@"\n' \
        "$libraries" "$folder/debian/usr/bin" "$folder/debian/usr/bin/$each" >"$program"
    chmod +x "$program"
done
printf '%s\n' "$missing" >"$folder/.unpacked"
printf '%s\n' "$key" >"$folder/.key"
