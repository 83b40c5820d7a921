#!/bin/sh
# images.sh: all images, with the megabytes and seconds of each. Environment: BASE, an image with Python 3.11 or
# newer to build on; unset, dpm/base is made by debootstrap.
. "$(dirname "$0")/lib.sh"
umask 022

contexts=$root/.tools/docker
mkdir -p "$contexts"

# measured IMAGE COMMAND...: run the command, and print the megabytes of the image that it made, and its seconds.
measured() {
    begun=$(date +%s%N)
    made=$1
    shift
    "$@"
    bytes=$(docker image inspect --format '{{.Size}}' "$made")
    awk -v name="$made" -v bytes="$bytes" -v nanoseconds=$(($(date +%s%N) - begun)) \
        'BEGIN { printf "%-20s %6.1f MB %6.1f s\n", name, bytes / 1e6, nanoseconds / 1e9 }'
}

if [ -z "${BASE:-}" ]; then
    BASE=dpm/base
    measured dpm/base deploy/setup/docker-base.sh
fi

# What of this machine the builds need and no image keeps: its certificates, and its index if it has one of its own.
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
[ -e "$certificates" ] || certificates=/dev/null
index=${UV_DEFAULT_INDEX:-$(.venv/bin/python -m pip config get global.index-url 2>/dev/null || true)}
(umask 077 && printf '%s\n' "${index:+UV_DEFAULT_INDEX='$index'}" >"$contexts/index")

# image NAME DOCKERFILE CONTEXT [OPTION...]
image() {
    name=$1 file=deploy/docker/$2.Dockerfile context=$3
    shift 3
    export DOCKER_BUILDKIT=1
    measured "dpm/$name" quietly "image-$name" docker build --progress plain -t "dpm/$name" -f "$file" \
        --build-arg BASE="$BASE" --secret id=certificates,src="$certificates" --secret id=index,src="$contexts/index" \
        "$@" "$context"
}

# members NAME MEMBER...: the context of an image with these members.
members() {
    name=$1
    shift
    .venv/bin/python deploy/docker/context.py "$contexts/$name" "$@"
}

nats_server=$(PATH=$root/.tools/bin:$PATH command -v nats-server) || fail "there is no nats-server: make setup builds it"
mkdir -p "$contexts/nats"
cp "$nats_server" "$contexts/nats/nats-server"

# programs NAME PROGRAM: a program of set-up's in the context of an image.
programs() {
    built=$(PATH=$root/.tools/bin:$PATH command -v "$2") || fail "there is no $2: make $2 builds it"
    cp "$built" "$contexts/$1/programs/$2"
}

members setup dpm-cli
members fetcher dpm-fetcher
members gateway-pypi dpm-gateway-pypi
members gateway-oci dpm-gateway-oci
members gateway-apt dpm-gateway-apt
members fusefs dpm-fusefs
members peer dpm-peer dpm-cli
members node dpm-cli dpm-fetcher dpm-gateway-pypi dpm-gateway-oci dpm-gateway-apt dpm-fusefs dpm-peer
programs peer ipfs
programs node ipfs

image nats nats "$contexts/nats"
image balancer balancer deploy/docker
image setup service "$contexts/setup" --build-arg SERVICE=dpm_cli.setup_command
image fetcher service "$contexts/fetcher" --build-arg SERVICE=dpm_fetcher
image gateway-pypi service "$contexts/gateway-pypi" --build-arg SERVICE=dpm_gateway_pypi
image gateway-oci service "$contexts/gateway-oci" --build-arg SERVICE=dpm_gateway_oci
image gateway-apt service "$contexts/gateway-apt" --build-arg SERVICE=dpm_gateway_apt
image peer service "$contexts/peer" --build-arg SERVICE=dpm_peer
image fusefs fusefs "$contexts/fusefs" --target service
image node fusefs "$contexts/node" --target node
