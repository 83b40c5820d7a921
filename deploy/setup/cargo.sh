#!/bin/sh
# What the test of the example ecosystem runs beside a node: cargo and rustc from PATH if they speak to sparse
# registries, else out of Debian's packages, which are not installed.
. "$(dirname "$0")/lib.sh"

oldest=1.68 # the first cargo to which sparse registries are nothing special
folder=$root/.tools/cargo
key=$(cksum <"$0")
[ "$(cat "$folder/.key" 2>/dev/null)" = "$key" ] && exit
rm -rf "$folder" .tools/bin/cargo .tools/bin/rustc

if command -v rustc >/dev/null && command -v cargo >/dev/null && at_least "$oldest" "$(cargo --version | cut -d ' ' -f 2)"; then
    exit
fi
command -v apt-get >/dev/null || fail "the tests need cargo $oldest or newer, and rustc: put them on PATH"
say "unpacking Debian's cargo and rustc into .tools/cargo, for the tests"
mkdir -p "$folder/archives/partial" "$folder/debian"

# With all that these need and the system has not.
fetch() {
    quietly "$1" flock "$root/.tools/apt.lock" apt-get -o APT::Sandbox::User=root -o Debug::NoLocking=true \
        -o Dir::Cache="$folder" install --yes --download-only --no-install-recommends cargo-web rustc-web
}
if ! (fetch cargo-fetch) 2>/dev/null; then
    [ "$(id -u)" = 0 ] || fail "apt knows no cargo-web: run 'sudo apt-get update', then make again"
    quietly cargo-update flock "$root/.tools/apt.lock" apt-get update
    fetch cargo-fetch
fi
for each in "$folder"/archives/*.deb; do
    quietly cargo-unpack dpkg-deb --extract "$each" "$folder/debian"
done
rm -rf "$folder/archives" "$folder"/*.bin "$folder/debian/usr/share"
libraries=$(find "$folder/debian" -name '*.so*' -not -path '*/rustlib/*' -exec dirname {} + | sort -u | paste -sd :)
for each in cargo rustc; do
    program=.tools/bin/$each
    printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s\nexec %s "$@"\n' \
        "$libraries" "$folder/debian/usr/bin/$each" >"$program"
    chmod +x "$program"
done
printf '%s\n' "$key" >"$folder/.key"
