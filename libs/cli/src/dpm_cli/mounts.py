"""The node's mount as the kernel sees it (proc_pid_mountinfo(5))."""

import contextlib
import re
import subprocess
from pathlib import Path

_MOUNT_POINT = 4
"""The field of mountinfo, counted from 0."""


def is_mounted(point: Path, mountinfo: str | None = None) -> bool:
    """Whether anything, dead or alive, is mounted on ``point``. Never touches the mount itself."""
    if mountinfo is None:
        try:
            mountinfo = Path("/proc/self/mountinfo").read_text()
        except OSError:  # no Linux: no mount of ours
            return False
    wanted = str(point.parent.resolve() / point.name)
    return any(_unescape(line.split(" ")[_MOUNT_POINT]) == wanted for line in mountinfo.splitlines())


def detach(point: Path) -> bool:
    """Take every mount off ``point``, even a dead or busy one; returns whether it is free then."""
    for _ in range(8):
        if not is_mounted(point):
            return True
        for command in (["umount", "-l", str(point)], ["fusermount3", "-u", "-z", str(point)]):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                if subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0:
                    break
    return not is_mounted(point)


def _unescape(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
