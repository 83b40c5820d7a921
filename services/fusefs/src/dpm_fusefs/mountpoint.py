"""Where the file system is mounted, what a dead one left there, and how much the kernel reads ahead.

Nothing here touches the mount itself: a process that reads its own mount waits for itself.
"""

import logging
from pathlib import Path

from dpm_core.errors import Unavailable
from dpm_runtime.mounts import mounted_at, unmount

READ_AHEAD_KIB = 1024
"""With it a read of a finished blob reaches us as 1 MiB, the size of a leaf."""

log = logging.getLogger(__name__)


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
        unmount(folder)
        if len(mounted_at(folder)) >= len(mounts):
            raise Unavailable(f"the dead mount at {folder} will not go", advice=f"try: umount -l {folder}")
        gone += 1
    return gone


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
