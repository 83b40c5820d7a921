"""What is mounted, as the kernel says in ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)), and taking it away.

Nothing here touches a mount itself: one whose process is stuck never answers.
"""

import contextlib
import ctypes
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_ESCAPE = re.compile(r"\\([0-7]{3})")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo: where, of what type, and on which device (``0:53``)."""

    point: str
    fstype: str
    device: str


def parse_mountinfo(text: str) -> Iterator[Mount]:
    """The mounts, in the order of the file: of several on one folder, the last is seen."""
    for line in text.split("\n"):
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if separator and len(fields) >= 6:
            yield Mount(_unescape(fields[4]), right.split(" ")[0], fields[2])


def _unescape(field: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), field)


def mounted_at(folder: Path) -> list[Mount]:
    """What, dead or alive, is mounted at exactly this folder, the lowest first."""
    try:
        text = Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape")
    except OSError:  # no Linux: no mount of ours
        return []
    where = os.path.realpath(folder.parent) + "/" + folder.name
    return [each for each in parse_mountinfo(text) if each.point == where]


def unmount(folder: Path) -> None:
    """Take the uppermost mount off ``folder``, lazily, even a dead or busy one; logged if it will not go."""
    if os.geteuid() != 0:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["fusermount3", "-uz", str(folder)], check=False, capture_output=True, timeout=10)
        return
    # umount(8) would look at the folder first
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(folder), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        log.warning("umount of %s: %s", folder, os.strerror(ctypes.get_errno()))


def detach(folder: Path) -> bool:
    """Take every mount off ``folder``; returns whether it is free then."""
    while mounts := mounted_at(folder):
        unmount(folder)
        if len(mounted_at(folder)) >= len(mounts):
            return False
    return True
