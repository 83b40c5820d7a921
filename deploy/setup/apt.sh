#!/bin/sh
# What tests of apt run, in small roots out of Debian's packages, unpacked and not installed, and entered by chroot:
# for each release of Debian its own apt and dpkg, and one with the programs that make and serve repositories.
. "$(dirname "$0")/lib.sh"

releases="bookworm trixie"
# What apt and dpkg need to install a package; apt finds what these need.
inside="apt base-files coreutils dash diffutils dpkg findutils grep libc-bin sed tar"
# What makes and serves repositories, and apt-cacher-ng, which the bench measures a node beside.
publishing="apt-cacher-ng apt-utils aptly base-files coreutils dash diffutils gpg gpg-agent nginx-light"

folder=$root/.tools/apt
key=$(cksum <"$0")
[ "$(cat "$folder/.key" 2>/dev/null)" = "$key" ] && exit
command -v apt-get >/dev/null || fail "the tests of apt need a machine with apt"

# The archive of Debian that apt uses here; both releases are in it, with the same key.
archive() {
    apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(ORIGIN) $(RELEASE)' 'Created-By: Packages' |
        awk '$3 == "Debian" && $2 == "main" && $4 !~ /-/ { print $1; exit }'
}
uri=$(archive)
if [ -z "$uri" ]; then
    [ "$(id -u)" = 0 ] || fail "apt knows of no archive of Debian here: run 'sudo apt-get update', then make again"
    quietly apt-update flock "$root/.tools/apt.lock" apt-get update
    uri=$(archive)
fi
[ -n "$uri" ] || fail "the tests of apt need a machine whose apt has a source of Debian"

rm -rf "$folder"
mkdir -p "$folder"
state=$folder/state

# lists_of RELEASE: a state of apt's own for that release, in which nothing is installed
lists_of() {
    rm -rf "$state"
    mkdir -p "$state/lists/partial" "$state/parts"
    : >"$state/status"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $1 main" >"$state/sources.list"
    quietly "apt-lists-$1" of_release update
}

of_release() {
    apt-get -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts="$state/parts" \
        -o Dir::State="$state" -o Dir::State::status="$state/status" -o Dir::Cache="$state" \
        -o Acquire::Languages=none -o APT::Sandbox::User=root "$@"
}

# unpack ROOT PACKAGES...: these and all that they need, without what nobody reads; /bin is a link to /usr/bin
unpack() {
    into=$folder/$1
    shift
    rm -rf "$state/archives"
    mkdir -p "$state/archives/partial" "$into"
    quietly apt-fetch of_release install --yes --download-only --no-install-recommends "$@"
    for name in bin sbin lib lib64; do
        mkdir -p "$into/usr/$name"
        ln -s "usr/$name" "$into/$name"
    done
    for each in "$state"/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$each" >"$state/files.tar"
        tar --extract --file "$state/files.tar" --directory "$into" --keep-directory-symlink \
            --exclude './usr/share/doc/*' --exclude './usr/share/man/*' --exclude './usr/share/locale/*'
    done
    printf 'root:x:0:0:root:/root:/bin/sh\n_apt:x:42:65534::/nonexistent:/bin/false\n' >"$into/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$into/etc/group"
    echo '127.0.0.1 localhost' >"$into/etc/hosts"
    echo 'nameserver 127.0.0.1' >"$into/etc/resolv.conf" # nobody is there; without it apt-cacher-ng asks for nothing
    mkdir -p "$into/dev" "$into/proc" "$into/srv" "$into/root" "$into/var/lib/dpkg"
    mkdir -p -m 1777 "$into/tmp"
    : >"$into/var/lib/dpkg/status"
    rm -f "$into/etc/apt/apt.conf.d/70debconf" # calls debconf, which is not there
}

for release in $releases; do
    say "unpacking apt and dpkg of Debian $release into .tools/apt/$release, for the tests"
    lists_of "$release"
    # shellcheck disable=SC2086 # words are wanted
    unpack "$release" $inside
done
say "unpacking aptly, apt-ftparchive and nginx into .tools/apt/publisher, for the tests"
# shellcheck disable=SC2086 # words are wanted
unpack publisher $publishing
rm -rf "$state"
printf '%s\n' "$key" >"$folder/.key"
