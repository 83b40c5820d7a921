"""Whether a file system can be mounted from here at all, asked before anything is started."""

import os
from pathlib import Path

from dpm_core.errors import Unavailable

SYS_ADMIN = 1 << 21
"""The capability that mount(2) needs (capabilities(7): CAP_SYS_ADMIN), in the masks of /proc/self/status."""

ADVICE = (
    "in a container: docker run --device /dev/fuse --cap-add SYS_ADMIN --security-opt apparmor=unconfined …; "
    "on a host: `dpm doctor`; or serve from the store, without a file system: DPM_FUSE=false"
)


def require_fuse(device: Path = Path("/dev/fuse"), status: Path = Path("/proc/self/status")) -> None:
    """Raises Unavailable, with what mends it, if this process and its children can never mount with FUSE.

    What only trying can tell, such as a profile of AppArmor, is left to fusefs.
    """
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise Unavailable(f"fuse: {device} cannot be opened: {error.strerror}", advice=ADVICE) from None
    if why := refused(status.read_text(), os.geteuid()):
        raise Unavailable(f"fuse: {why}", advice=ADVICE)


def refused(status: str, uid: int) -> str:
    """Why the kernel would refuse to mount, as the text of ``/proc/self/status`` says (proc_pid_status(5)); or "".

    Who is not root has it done by fusermount3, which is setuid root.
    """
    fields = dict(line.partition(":")[::2] for line in status.splitlines())
    if not int(fields.get("CapBnd", "ffffffffffffffff"), 16) & SYS_ADMIN:
        return "nothing can be mounted without the capability SYS_ADMIN"
    if uid != 0 and fields.get("NoNewPrivs", "0").strip() == "1":
        return "fusermount3 cannot become root, because this process has no-new-privileges"
    return ""
