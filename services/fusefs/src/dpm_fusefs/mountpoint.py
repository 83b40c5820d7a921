"""Where the file system is mounted, what a dead one left there, and how much the kernel reads ahead.

Nothing here touches the mount itself: a process that reads its own mount waits for itself. What is mounted
is read from ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)).
"""

import ctypes
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dpm_core.errors import Unavailable

READ_AHEAD_KIB = 1024
"""With it a read of a finished blob reaches us as 1 MiB, the size of a leaf."""

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
    """What is mounted at exactly this folder, the lowest first."""
    text = Path("/proc/self/mountinfo").read_bytes().decode(errors="surrogateescape")
    where = os.path.realpath(folder.parent) + "/" + folder.name
    return [each for each in parse_mountinfo(text) if each.point == where]


def clear(folder: Path) -> int:
    """Unmount, lazily, what a dead file system left at ``folder``; returns how many mounts that were.

    Only for the holder of the home's lock, since it does not ask whether somebody still serves them. Raises
    Unavailable if something else than FUSE is mounted there, or if a mount will not go.
    """
    gone = 0
    while mounts := mounted_at(folder):
        top = mounts[-1]
        if not top.fstype.startswith("fuse"):
            raise Unavailable(
                f"{top.fstype} is mounted at {folder}", advice="unmount it, or choose another home for DPM"
            )
        _unmount(folder)
        if len(mounted_at(folder)) >= len(mounts):
            raise Unavailable(f"the dead mount at {folder} will not go", advice=f"try: umount -l {folder}")
        gone += 1
    return gone


def _unmount(folder: Path) -> None:
    if os.geteuid() != 0:
        subprocess.run(["fusermount3", "-uz", str(folder)], check=False, capture_output=True)
        return
    # umount(8) would look at the folder first, and a mount whose process is stuck never answers.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(folder), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        log.warning("umount of %s: %s", folder, os.strerror(ctypes.get_errno()))


def read_ahead(folder: Path) -> None:
    """Let the kernel read ahead in pieces of READ_AHEAD_KIB, where we may say so; logged where not.

    Only once the kernel has said hello: the hello sets it back.
    """
    for mount in mounted_at(folder)[-1:]:
        knob = Path("/sys/class/bdi") / mount.device / "read_ahead_kb"
        try:
            knob.write_text(f"{READ_AHEAD_KIB}\n")
        except OSError as error:
            log.info("reads of large blobs will be slower: %s cannot be set: %s", knob, error.strerror)
