#!/bin/sh
# docker.sh COMMAND...: run a command with a Docker engine, Compose 2 and debootstrap there. As root what is missing
# is installed, and an engine that nobody has started is started for as long as the command runs.
. "$(dirname "$0")/lib.sh"

# Debian 12 has no Compose 2; its packages of Debian 13 need nothing that 12 has not.
later=trixie

# The archive of Debian that apt uses here, with the same key.
fetch_later() {
    uri=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(ORIGIN) $(RELEASE)' 'Created-By: Packages' |
        awk '$3 == "Debian" && $2 == "main" && $4 !~ /-/ { print $1; exit }')
    [ -n "$uri" ] || fail "apt has no source of Debian here: install Compose 2 yourself"
    folder=$(mktemp -d)
    mkdir -p "$folder/lists/partial" "$folder/parts" "$folder/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $later main" >"$folder/sources.list"
    set -- "$folder" "$@"
    (
        cd "$folder"
        shift
        options="-o Dir::Etc::SourceList=$folder/sources.list -o Dir::Etc::SourceParts=$folder/parts
            -o Dir::State::Lists=$folder/lists -o Dir::Cache=$folder -o APT::Sandbox::User=root"
        # shellcheck disable=SC2086 # words are wanted
        quietly docker-lists apt-get $options update
        # shellcheck disable=SC2086
        quietly docker-fetch apt-get $options download "$@"
        quietly docker-unpack dpkg --install ./*.deb
    )
    rm -rf "$folder"
}

install_missing() {
    missing=
    command -v dockerd >/dev/null || missing="docker.io iptables"
    command -v debootstrap >/dev/null || missing="$missing debootstrap"
    later_missing=
    if [ -n "$missing" ] || ! docker compose version >/dev/null 2>&1; then
        [ "$(id -u)" = 0 ] || fail "a Docker engine with Compose 2 is needed: install it, or run this as root"
        command -v apt-get >/dev/null || fail "missing here (by Debian's names): $missing docker-compose"
    fi
    export DEBIAN_FRONTEND=noninteractive
    if [ -n "$missing" ]; then
        say "installing with apt-get: $missing"
        quietly docker-update apt-get update
        # shellcheck disable=SC2086 # words are wanted
        quietly docker-install apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=120 $missing
    fi
    docker compose version >/dev/null 2>&1 || later_missing="docker-compose"
    docker buildx version >/dev/null 2>&1 || later_missing="$later_missing docker-buildx"
    if [ -n "$later_missing" ]; then
        say "installing from Debian $later: $later_missing"
        # shellcheck disable=SC2086 # words are wanted
        fetch_later $later_missing
    fi
}

engine_answers() { docker version >/dev/null 2>&1; }

# The engine outlives every shell that waits for it, and ends with the command for which it was started.
start_engine() {
    [ "$(id -u)" = 0 ] || fail "no Docker engine answers: start it, or add this user to its group"
    say "starting dockerd (its output: .tools/log/dockerd.log)"
    setsid dockerd >"$logs/dockerd.log" 2>&1 </dev/null &
    engine=$!
    trap 'kill "$engine" 2>/dev/null; wait "$engine" 2>/dev/null || true' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    waited=0
    until engine_answers; do
        kill -0 "$engine" 2>/dev/null && [ $waited -lt 300 ] || fail "dockerd does not run: $(tail -n 3 "$logs/dockerd.log")"
        waited=$((waited + 1))
        sleep 0.2
    done
}

# Everywhere else udev has done this, and services of containers are not root.
open_fuse() {
    [ "$(id -u)" != 0 ] || [ ! -c /dev/fuse ] || chmod a+rw /dev/fuse
}

install_missing
engine_answers || start_engine
open_fuse
"$@"
