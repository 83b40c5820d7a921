#!/bin/sh
# What pip cannot install: as root it is installed, otherwise the command to run is printed.
. "$(dirname "$0")/lib.sh"

python=$(base_python)
read -r version ensurepip include <<EOF
$("$python" -c '
import sys, sysconfig
from importlib.util import find_spec
print("%d.%d" % sys.version_info[:2], bool(find_spec("ensurepip")), sysconfig.get_path("include"))')
EOF

at_least 3.11 "$version" ||
    fail "$python is Python $version, and DPM needs 3.11 or newer: make PYTHON=/path/to/python3"

missing=
need() { missing="$missing $*"; }

# Debian leaves both out of python3; an interpreter of another origin has them or cannot get them from apt.
python_needs() {
    case $python in
    /usr/bin/*) need "$1" ;;
    *) fail "$python has no $2: make PYTHON=/usr/bin/python3, or install a whole Python" ;;
    esac
}

compiles() { printf '#include <stdlib.h>\n' | "${CC:-cc}" -fsyntax-only -xc - 2>/dev/null; }

[ "$ensurepip" = True ] || python_needs "python$version-venv" ensurepip
[ -e "$include/Python.h" ] || python_needs "python$version-dev" Python.h
compiles || need gcc libc6-dev
command -v pkg-config >/dev/null || need pkg-config
pkg-config --exists fuse3 2>/dev/null || need libfuse3-dev
command -v fusermount3 >/dev/null || need fuse3
command -v gpgv >/dev/null || need gpgv
# Only Go reads these: git may have come without them.
[ -n "${SSL_CERT_FILE:-}" ] || find /etc/ssl/certs /etc/pki/tls/certs -name '*.*' 2>/dev/null | grep -q . ||
    need ca-certificates

[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null || fail "missing here (by Debian's names):$missing"
install="apt-get install --yes --no-install-recommends$missing"
if [ "$(id -u)" != 0 ]; then
    fail "system packages are missing; run this, then make again:
sudo sh -c 'apt-get update && $install'"
fi

say "installing with apt-get:$missing"
export DEBIAN_FRONTEND=noninteractive
quietly apt-update apt-get update
# shellcheck disable=SC2086 # words are wanted
quietly apt-install $install -o DPkg::Lock::Timeout=120
