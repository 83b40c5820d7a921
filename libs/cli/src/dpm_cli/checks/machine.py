"""Checks of the machine: the kernel's parts, limits and programs that a node needs."""

import errno
import os
import shutil
import stat
import sys
from pathlib import Path

from dpm_cli.checks.model import Check, Finding, Subject, failed, info, ok, together, warning
from dpm_runtime.cards import read_cards

FUSE_DEVICE = (10, 229)
"""Major and minor number of /dev/fuse (Linux, Documentation/admin-guide/devices.txt)."""

_NO_FUSE = "not needed: the settings have fuse = false"

FEWEST_WATCHES = 1024
"""A folder of attempts takes one; lanes and what waits for them stay below."""
FEWEST_INSTANCES = 8
"""Each process that follows growing files takes one."""

FEWEST_FILES = 512
AMPLE_FILES = 4096
"""Each client takes one file of its gateway, five while it is sent a body."""


async def fuse_device(subject: Subject) -> Finding:
    """Whether /dev/fuse is there, is what it should be, and opens for us."""
    if not subject.settings.fuse:
        return info(_NO_FUSE)
    if sys.platform != "linux":
        return failed("only Linux has the FUSE that a node needs", "run the node on Linux, or in a container")
    device = subject.fuse
    try:
        status = device.stat()
    except OSError as error:
        if subject.container and any(card.service == "fusefs" for card in read_cards(subject.home)):
            return info(f"there is no {device} here; fusefs has it, in its own container")
        return failed(f"{device}: {error.strerror}")
    if not stat.S_ISCHR(status.st_mode) or (os.major(status.st_rdev), os.minor(status.st_rdev)) != FUSE_DEVICE:
        return failed(f"{device} is not the FUSE device", f"rm {device}; mknod -m 666 {device} c 10 229")
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return failed(f"{device} cannot be opened: {error.strerror}", _opening(subject, error, status.st_mode))
    return ok(f"{device} opens")


def _opening(subject: Subject, error: OSError, mode: int) -> str:
    if error.errno == errno.ENODEV:
        return "modprobe fuse, as root"
    if subject.container and mode & 0o006 == 0o006:
        return "give the container the device: --device /dev/fuse"
    return f"as root: chmod 666 {subject.fuse}, which is what Debian's package fuse3 sets"


async def mount_program(subject: Subject) -> Finding:
    """Whether a user who is not root has fusermount3, setuid root."""
    if not subject.settings.fuse:
        return info(_NO_FUSE)
    if subject.uid == 0:
        return ok("not needed: root mounts without it")
    found = shutil.which("fusermount3", path=subject.environ.get("PATH", os.defpath))
    if found is None:
        return failed("there is no fusermount3 on PATH")
    status = Path(found).stat()
    if status.st_uid != 0 or not status.st_mode & stat.S_ISUID:
        return failed(f"{found} is not setuid root", f"as root: chown root {found} && chmod 4755 {found}")
    return ok(f"{found}, setuid root")


async def nats_server_new_enough(subject: Subject) -> Finding:
    """Whether nats-server is there and new enough."""
    from dpm_cli import nats_server

    program = nats_server.find(subject.environ)
    version = ".".join(map(str, nats_server.version_of(str(program))))
    return ok(f"{program}, version {version}")


async def inotify_suffices(subject: Subject) -> Finding:
    """Whether a growing file can be followed: the limits, and one try."""
    if sys.platform != "linux":
        return info("only Linux has inotify")
    from asyncinotify import Inotify

    limits = subject.proc / "sys" / "fs" / "inotify"
    found = []
    for name, fewest in (("max_user_instances", FEWEST_INSTANCES), ("max_user_watches", FEWEST_WATCHES)):
        try:
            limit = int((limits / name).read_text())
        except (OSError, ValueError):
            continue
        if limit < fewest:
            mend = f"as root: sysctl fs.inotify.{name}={fewest * 16}"
            found.append(warning(f"fs.inotify.{name} is {limit}, less than {fewest}", mend))
        else:
            found.append(ok(f"{name} {limit}"))
    try:
        with Inotify():
            pass
    except OSError as error:
        found.append(warning(f"no inotify instance is to be had: {error.strerror}"))
    return together(found, "an instance is to be had")


async def files_suffice(subject: Subject) -> Finding:
    """Whether a process may have enough files open."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # services take all that they may have
    if hard == resource.RLIM_INFINITY:
        return ok("no limit")
    text = f"a process may open {hard} files (ulimit -Hn)"
    if hard >= AMPLE_FILES:
        return ok(text)
    return failed(text) if hard < FEWEST_FILES else warning(text)


CHECKS = (
    Check(
        "DPM-FUSE-DEVICE",
        "/dev/fuse is there and may be opened",
        "Load the module (`modprobe fuse`); in a container, give it the device (`--device /dev/fuse`).",
        fuse_device,
    ),
    Check(
        "DPM-FUSERMOUNT",
        "Who is not root has `fusermount3`, setuid root",
        "Install fuse3 (Debian: `apt-get install fuse3`).",
        mount_program,
    ),
    Check(
        "DPM-NATS-SERVER",
        "`nats-server` 2.11 or newer is there",
        "`make up` builds it; or install it and put it on `PATH`.",
        nats_server_new_enough,
        seconds=12.0,
    ),
    Check(
        "DPM-INOTIFY",
        "The limits of inotify leave room to follow growing files",
        "Raise `fs.inotify.max_user_instances` and `fs.inotify.max_user_watches` (and `user.max_inotify_…`) by "
        "sysctl, or end what has used them up. Without inotify growing files are looked at every so often.",
        inotify_suffices,
    ),
    Check(
        "DPM-OPEN-FILES",
        "A process may have enough files open",
        "Raise the hard limit: `LimitNOFILE=` in a unit, `ulimits:` in a compose file, `nofile` in limits.conf.",
        files_suffice,
    ),
)
