"""Small roots of Debian, unpacked by ``make apt``, in which programs run by chroot(1). For root.

All mounts are in a namespace of the program's own, and gone with it.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOTS = Path(sys.prefix).parent / ".tools" / "apt"
"""Where ``make apt`` puts them."""

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
"""What programs there are told: nothing of this machine, and of no proxy."""

_ENTER = """
while [ "$1" != -- ]; do mount --rbind "$1" "$2"; shift 2; done
root=$2; shift 2
exec chroot "$root" "$@"
"""
_LAYERED = """
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"
shift 4
"""


def _root(name: str) -> Path:
    root = ROOTS / name
    assert (ROOTS / ".key").exists(), f"{root} is missing: make apt"
    assert os.geteuid() == 0, "only root may chroot"
    return root


def _enter(script: str, mounts: Mapping[Path, Path], root: Path, *before: Path) -> list[str | Path]:
    pairs = [each for pair in mounts.items() for each in pair]
    start = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script + _ENTER, "sh"]
    return [*start, *before, *pairs, "--", root]


def in_root(name: str, folder: Path) -> list[str | Path]:
    """What to put before a command to run it in a root that nobody changes, with ``folder`` as its ``/srv``."""
    root = _root(name)
    own = folder / ".tmp"
    own.mkdir(exist_ok=True)
    return _enter("", {Path("/dev"): root / "dev", folder: root / "srv", own: root / "tmp"}, root)


def in_own_root(root: str | Path, folder: Path) -> list[str | Path]:
    """What to put before a command to run it in a root and with what was changed there, kept in ``folder``.

    The root is one of ``make apt`` by its name, or a folder that somebody else has made.

    One command at a time. What is below ``folder / "changed"`` is seen by the next one.
    """
    lower = root if isinstance(root, Path) else _root(root)
    changed, work, merged = (folder / each for each in ("changed", "work", "root"))
    for each in (folder, changed, work, merged):
        each.mkdir(exist_ok=True)
        each.chmod(
            0o755
        )  # of a folder of pytest nobody but its owner may enter it, and apt fetches as another user
    mounts = {Path("/dev"): merged / "dev", Path("/proc"): merged / "proc"}
    return _enter(_LAYERED, mounts, merged, lower, changed, work, merged)
