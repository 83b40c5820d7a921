#!/bin/sh
# prometheus.sh: prometheus and promtool, for the tests: from PATH, else out of Debian's package into .tools/bin.
# The package is not installed: it would start a Prometheus of its own.
. "$(dirname "$0")/lib.sh"

oldest=2.42.0 # Debian 12's
version_of() { "$1" --version 2>&1 | sed -n '1s/.*version \([0-9][0-9.]*\).*/\1/p'; }

PATH=$root/.tools/bin:$PATH
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    at_least "$oldest" "$(version_of prometheus)" && exit
fi
command -v apt-get >/dev/null || fail "the tests need prometheus $oldest and promtool: put them on PATH"

say "unpacking Debian's prometheus into .tools/bin"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
download() { quietly "$1" flock "$root/.tools/apt.lock" apt-get -o APT::Sandbox::User=root download prometheus; }
if ! (download prometheus-fetch) 2>/dev/null; then
    [ "$(id -u)" = 0 ] || fail "apt knows no prometheus: run 'sudo apt-get update', then make again"
    quietly prometheus-update flock "$root/.tools/apt.lock" apt-get update
    download prometheus-fetch
fi
quietly prometheus-unpack dpkg-deb --extract prometheus_*.deb .
cp usr/bin/prometheus usr/bin/promtool "$root/.tools/bin/"
