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

say "unpacking Debian's$missing into .tools/registries, for the tests"
rm -rf "$folder"
# shellcheck disable=SC2086 # words are wanted
unpack_debian registries "$folder/debian" $missing $beside
rm -rf "$folder/debian/usr/share"
libraries=$(folder_of 'libgpgme.so.11' "$folder/debian/usr/lib"):$(folder_of 'libdevmapper.so*' "$folder/debian/lib")
for each in $missing; do
    launcher "$root/.tools/bin/$each" "$folder/debian/usr/bin/$each" "$libraries"
done
printf '%s\n' "$missing" >"$folder/.unpacked"
printf '%s\n' "$key" >"$folder/.key"
