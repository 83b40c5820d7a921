#!/bin/sh
# docker.sh [COMMAND...]: run a command with a Docker engine, Compose 2 and debootstrap there. As root what is missing
# is installed, and an engine that nobody has started is started for as long as the command runs. Without a command
# nothing is started.
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
    command -v dockerd >/dev/null || docker version >/dev/null 2>&1 || missing="docker.io iptables"
    have_base || command -v debootstrap >/dev/null || missing="$missing debootstrap"
    later_missing=
    docker compose version >/dev/null 2>&1 || later_missing="docker-compose"
    docker buildx version >/dev/null 2>&1 || later_missing="$later_missing docker-buildx"
    [ -n "$missing$later_missing" ] || return 0
    command -v apt-get >/dev/null || fail "missing here (by Debian's names): $missing $later_missing"
    [ "$(id -u)" = 0 ] || fail "for the containers is missing:${missing:+ $missing} $later_missing. Run this, log in anew, then make again:
sudo sh -c 'deploy/setup/docker.sh deploy/setup/docker-base.sh && usermod -aG docker $(id -un)'"
    export DEBIAN_FRONTEND=noninteractive
    if [ -n "$missing" ]; then
        say "installing with apt-get: $missing"
        quietly docker-update flock "$root/.tools/apt.lock" apt-get update
        # shellcheck disable=SC2086 # words are wanted
        quietly docker-install flock "$root/.tools/apt.lock" apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=120 $missing
    fi
    if [ -n "$later_missing" ]; then
        say "installing from Debian $later: $later_missing"
        # shellcheck disable=SC2086 # words are wanted
        fetch_later $later_missing
    fi
}

# Whether images are built on something that need not be made here.
have_base() { [ -n "${BASE:-}" ] || docker image inspect dpm/base >/dev/null 2>&1; }

engine_answers() { docker version >/dev/null 2>&1; }

# The engine outlives every shell that waits for it, and ends with the command for which it was started.
start_engine() {
    [ "$(id -u)" = 0 ] || fail "no Docker engine answers: start it, or add this user to its group"
    say "starting dockerd (its output: .tools/log/dockerd.log)"
    trap 'end_engine' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    if ! engine_runs && grep -q iptables "$logs/dockerd.log" && older=$(command -v iptables-legacy); then
        # A kernel without nf_tables, which Debian's iptables stands for.
        say "once more with iptables-legacy"
        mkdir -p .tools/iptables
        for name in iptables ip6tables; do ln -sf "${older%/*}/$name-legacy" ".tools/iptables/$name"; done
        PATH=$root/.tools/iptables:$PATH
        engine_runs || true
    fi
    engine_answers || fail "dockerd does not run: $(tail -n 3 "$logs/dockerd.log")"
}

engine_runs() {
    setsid dockerd >"$logs/dockerd.log" 2>&1 </dev/null &
    engine=$!
    waited=0
    until engine_answers; do
        kill -0 "$engine" 2>/dev/null && [ $waited -lt 300 ] || return 1
        waited=$((waited + 1))
        sleep 0.2
    done
}

end_engine() {
    kill "$engine" 2>/dev/null
    wait "$engine" 2>/dev/null || true
    ip link delete docker0 2>/dev/null || true
}

# Everywhere else udev has done this, and services of containers are not root.
open_fuse() {
    [ "$(id -u)" != 0 ] || [ ! -c /dev/fuse ] || chmod a+rw /dev/fuse
}

install_missing
[ $# -gt 0 ] || exit 0
engine_answers || start_engine
open_fuse
"$@"
