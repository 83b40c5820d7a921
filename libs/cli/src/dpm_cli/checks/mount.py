"""Checks of the mount, which never touch it: one whose process is stuck never answers."""

import os
import subprocess
import sys
from pathlib import Path

from dpm_cli.checks.model import Check, Finding, Subject, failed, info, ok, skipped, warning
from dpm_runtime.cards import read_cards
from dpm_runtime.mounts import mounted_at, parse_mountinfo

ANSWER_SECONDS = 2.0
"""As for a file that is not there, a mount that works takes a millisecond."""

FUSEFS = "fusefs"


async def mount_answers(subject: Subject) -> Finding:
    """Whether what should be mounted is, by us, and answers."""
    point = subject.home.mount
    mounts = mounted_at(point)
    if not mounts:
        if not subject.running:
            return ok("nothing is mounted, and no node runs")
        if not subject.settings.fuse:
            return info("nothing is mounted, and nothing shall be: the node serves from the store")
        return failed(f"nothing is mounted at {point}", f"`dpm start {FUSEFS}`; its log is {_log(subject)}")
    top = mounts[-1]
    if not top.fstype.startswith("fuse"):
        return failed(f"{top.fstype} is mounted at {point}, and not by DPM", f"umount {point}")
    refused = answers(point)
    if refused:
        mend = f"`dpm stop {FUSEFS}`, `dpm start {FUSEFS}`; its log is {_log(subject)}"
        return failed(f"the mount at {point} {refused}", mend if subject.supervised else "")
    return ok(f"{point} answers")


def answers(point: Path) -> str:
    """Empty if somebody answers behind the mount, else what is wrong, after ANSWER_SECONDS at the latest.

    A process of its own asks, and nobody waits for its end: a read that nobody answers may outlive SIGKILL.
    """
    asking = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _ASK, str(point / ".alive")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        told, _ = asking.communicate(timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        asking.kill()
        asking.returncode = -9  # nobody's to wait for
        return f"does not answer within {ANSWER_SECONDS:g} s"
    if told == b"alive":
        return ""
    reason = told.decode(errors="replace").strip()
    return f"is dead: {reason}" if reason else "has no .alive: it is not that of DPM"


_ASK = """
import os, sys
try:
    with open(sys.argv[1], "rb", buffering=0) as file:
        print("alive" if file.read(64) else "", end="")
except FileNotFoundError:
    pass
except OSError as error:
    print(error.strerror)
"""


async def propagation(subject: Subject) -> Finding:
    """Whether a mount made in the home is seen by the containers beside this one."""
    try:
        text = (subject.proc / "self" / "mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return skipped("this system does not tell of its mounts")
    where, tags = propagates(text, subject.home.root)
    shared, received = "shared:" in tags, "master:" in tags
    kind = "shared" if shared else "slave" if received else "private"
    text = f"{where}, which the home is on, is {kind}"
    if not subject.container:
        return info(f"{text}; it matters for containers only")
    if kind == "private":
        return warning(f"{text}: a mount made here is not seen by containers beside this one, nor theirs here")
    return ok(f"{text}: mounts of fusefs are seen {'on both sides' if shared else 'here'}")


def propagates(mountinfo: str, folder: Path) -> tuple[str, str]:
    """The mount that ``folder`` is on, and its tags of propagation: ``shared:1 master:2``."""
    path = os.path.realpath(folder)
    best, tags = "", ""
    for line in mountinfo.splitlines():
        for mount in parse_mountinfo(line):
            point = mount.point.rstrip("/")
            if (path + "/").startswith(point + "/") and len(mount.point) >= len(best):
                best, tags = mount.point, " ".join(line.partition(" - ")[0].split(" ")[6:])
    return best, tags


async def which_form(subject: Subject) -> Finding:
    """Where this is, and how clients get what is stored: through the mount, or from the store, and why."""
    where = f"in a container ({subject.container})" if subject.container else "on the host itself"
    if not subject.running:
        return info(f"{where}; no node runs")
    return info(f"{where}; {form(subject)}")


def form(subject: Subject) -> str:
    """How a running node serves, and why."""
    if not subject.settings.fuse:
        return "form nofuse: the settings have fuse = false, so clients are served from the store"
    if mounted_at(subject.home.mount):
        return "form fuse: clients are served through the mount"
    if any(card.service == FUSEFS for card in read_cards(subject.home)):
        return f"form fuse, but the mount of {FUSEFS} is not seen here: clients are served from the store"
    if not subject.fuse.exists() and not subject.container:
        return f"form fuse, but there is no {subject.fuse}: clients are served from the store"
    return f"form fuse, but no {FUSEFS} runs: clients are served from the store"


def _log(subject: Subject) -> Path:
    return subject.home.logs / f"{FUSEFS}.log"


CHECKS = (
    Check(
        "DPM-MOUNT",
        "What is mounted in the home is ours and answers",
        "`dpm down` takes it away, and `dpm up` does before it mounts anew.",
        mount_answers,
    ),
    Check(
        "DPM-PROPAGATION",
        "A mount made in the home is seen by the containers beside",
        "On the host: `mount --make-rshared` the mount that the home is on; bind the home `rshared` for fusefs "
        "and `rslave` for gateways.",
        propagation,
    ),
    Check(
        "DPM-FORM",
        "Which form of the node runs (information)",
        "Nothing is to be mended.",
        which_form,
    ),
)
