#!/bin/sh
# docker-base.sh: the image dpm/base, a minimal Debian with Python, from the machine's own Debian mirror. For
# machines that reach no registry; where one is to be had, `make images BASE=<image>@sha256:<digest>` uses that.
. "$(dirname "$0")/lib.sh"

suite=bookworm
packages=python3-minimal,libpython3-stdlib,ca-certificates,gpgv
key=$(cat "$0" | cksum | tr ' ' -)
[ "$(docker image inspect --format '{{index .Config.Labels "made-by"}}' dpm/base 2>/dev/null)" = "$key" ] && exit
[ "$(id -u)" = 0 ] || fail "debootstrap needs root: run make images as root, or name an image: make images BASE=…"
command -v debootstrap >/dev/null || fail "debootstrap is missing: deploy/setup/docker.sh installs it"

# What apt uses here, so that no mirror is named by us.
sources() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' |
        awk -v suite="$suite" '$NF == "Debian" && $2 ~ "^" suite && $3 == "main" { print "deb", $1, $2, $3 }' | sort -u
}
mirror=$(sources | awk -v suite="$suite" '$3 == suite { print $2; exit }')
[ -n "$mirror" ] || fail "apt of this machine has no $suite: name a base image: make images BASE=…"

root_fs=$(mktemp -d)
trap 'rm -rf "$root_fs"' EXIT
say "making the image dpm/base by debootstrap (a minute)"
quietly debootstrap debootstrap --variant=minbase --include="$packages" "$suite" "$root_fs" "$mirror"
sources >"$root_fs/etc/apt/sources.list"
cat >"$root_fs/etc/dpkg/dpkg.cfg.d/small" <<EOF
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
EOF
cp /etc/resolv.conf "$root_fs/etc/resolv.conf"
quietly base-upgrade chroot "$root_fs" sh -ec 'apt-get update; DEBIAN_FRONTEND=noninteractive apt-get --yes upgrade; apt-get clean'
cd "$root_fs"
rm -rf var/lib/apt/lists/* var/cache/apt/* var/cache/debconf/*-old var/log/* etc/resolv.conf \
    usr/share/man/* usr/share/info/* usr/share/locale/* boot/* tmp/*
find usr/share/doc -type f ! -name copyright -delete
find usr/share/doc -type l ! -name copyright -delete
find usr/share/doc -type d -empty -delete
find . -name __pycache__ -prune -exec rm -rf {} +
cd "$root"
tar -C "$root_fs" --one-file-system --numeric-owner -c . |
    docker import --change 'ENV LANG=C.UTF-8' --change "LABEL made-by=$key" - dpm/base >/dev/null
