"""Checks of the settings and of the home: may it be used, by us and by nobody else."""

import os
import stat
import tempfile
from pathlib import Path

from dpm_cli.checks.model import Check, Finding, Subject, failed, info, ok, skipped, together, warning
from dpm_cli.lock import require_short
from dpm_core.errors import Invalid

MIB = 1024 * 1024
LEAST_FREE_BYTES = 1024 * MIB
"""Below it a single large package may not fit any more."""
AMPLE_FREE_BYTES = 5 * LEAST_FREE_BYTES
FEWEST_FREE_INODES = 10_000
"""A blob takes two, an attempt five."""


async def settings_read(subject: Subject) -> Finding:
    """Whether the environment and dpm.toml hold only what is known, and right."""
    if subject.refusal:
        return failed(subject.refusal)
    config = subject.home.config
    return ok(f"read from the environment and {config}" if config.exists() else "read from the environment")


async def home_usable(subject: Subject) -> Finding:
    """Whether the home is there or can be made, and files can be written in it."""
    root = subject.home.root
    there = _nearest(root)
    if not there.is_dir():
        return failed(f"{there} is no folder")
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"?")
    except OSError as error:
        return failed(f"nothing can be written in {there}: {error.strerror}")
    if there != root:
        return info(f"{root} is not there yet; `dpm up` makes it")
    owner = there.stat().st_uid
    if owner != subject.uid:
        return warning(f"{root} belongs to uid {owner}, and this is uid {subject.uid}", f"use it as uid {owner}")
    return ok(f"{root} can be written")


async def layout_known(subject: Subject) -> Finding:
    """Whether this version of DPM knows the layout of the home."""
    from dpm_runtime.home import LAYOUT, RESTORING, unknown_layout

    version = subject.home.root / "VERSION"
    try:
        found = version.read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return ok("the home is new")
    if found == RESTORING:
        return failed(unknown_layout(subject.home.root, found), "empty the home, then `dpm restore` again")
    if not found.isdigit():
        return failed(f"{version} holds {found[:20]!r}, which is no version")
    if int(found) > LAYOUT:
        return failed(unknown_layout(subject.home.root, found))
    return ok(f"layout {found}")


async def path_short(subject: Subject) -> Finding:
    """Whether the paths of unix sockets below the home are short enough."""
    try:
        require_short(subject.home)
    except Invalid as error:
        return failed(str(error))
    return ok(f"{len(os.fsencode(subject.home.root))} bytes leave room for sockets")


async def home_private(subject: Subject) -> Finding:
    """Whether other users can read or change what is in the home."""
    home = subject.home
    if not home.root.is_dir():
        return skipped("there is no home yet")
    trees = {  # never the mount: it may not answer
        home.root: [home.blobs, home.incoming, home.quarantine, home.catalog, home.facts, home.run, home.logs]
    }
    trees.setdefault(home.keys.parent, []).extend((home.keys, home.nats))
    entered = [top for top in trees if top.is_dir() and _mode(top) & 0o077]
    if not entered:
        return ok(f"nobody else may enter {_names(list(trees))}")
    inner = [folder for top in entered for folder in trees[top] if folder.is_dir()]
    changeable = [each for each in (*entered, *inner) if _mode(each) & 0o022 and not _mode(each) & stat.S_ISVTX]
    readable = [each for each in inner if _mode(each) & 0o055]
    if changeable:
        return failed(f"others may change what is in {_names(changeable)}")
    if readable:
        return warning(f"others may read {_names(readable)}")
    return ok("others may enter the home, and none of its folders")


async def keys_safe(subject: Subject) -> Finding:
    """Whether each key is a seed, ours, and readable by nobody else."""
    from dpm_runtime.nkey_files import read_seed

    keys = sorted(subject.home.keys.glob("*.nk"))
    if not keys:
        return info("there are no keys yet; `dpm up` makes them")
    found = []
    for key in keys:
        status = key.stat()
        if status.st_mode & 0o077:
            found.append(failed(f"{key} can be read by others", f"chmod 600 {key}"))
        if status.st_uid != subject.uid:
            mend = f"chown {subject.uid} {key}, or run DPM as that user"
            found.append(failed(f"{key} belongs to uid {status.st_uid}", mend))
        try:
            read_seed(key)
        except Invalid as error:
            found.append(failed(str(error), f"`dpm down`, remove {key}, `dpm up`: a new one is made"))
    return together(found, f"{len(keys)} keys, ours alone")


async def space_left(subject: Subject) -> Finding:
    """Whether the disk of the home has room for packages."""
    from dpm_cli.show import amount
    from dpm_runtime.disk import Space
    from dpm_runtime.quota import quota_of

    there = _nearest(subject.home.root)
    disk = os.statvfs(there)
    space = Space.of(there)
    free, quota = space.free, quota_of(subject.settings, space)
    text = f"{amount(free)} are free on the disk of {there}"
    if free < quota.floor:
        return failed(f"{text}: nothing is fetched while they are less than {amount(quota.floor)}")
    if free < LEAST_FREE_BYTES:
        return failed(text)
    if disk.f_files and disk.f_favail < FEWEST_FREE_INODES:
        return failed(f"{disk.f_favail} more files fit on the disk of {there}")
    return warning(text) if free < AMPLE_FREE_BYTES else ok(text)


def _nearest(folder: Path) -> Path:
    """The folder, or the first one above it that exists."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def _mode(path: Path) -> int:
    return path.stat().st_mode


def _names(folders: list[Path]) -> str:
    return ", ".join(map(str, folders))


CHECKS = (
    Check(
        "DPM-SETTINGS",
        "The settings can be read, and every key is known",
        "Correct the key that is named, in the environment or in `dpm.toml`; the configuration reference has all.",
        settings_read,
    ),
    Check(
        "DPM-HOME",
        "The home is there or can be made, and can be written",
        "Let `DPM_HOME` name a folder that this user may write, on a disk that is not read-only.",
        home_usable,
    ),
    Check(
        "DPM-HOME-LAYOUT",
        "This version of DPM knows the layout of the home",
        "Use the newer DPM that made the home, or another `DPM_HOME`.",
        layout_known,
    ),
    Check(
        "DPM-HOME-PATH",
        "The home's path is short enough for unix sockets",
        "Let `DPM_HOME` name a shorter path.",
        path_short,
    ),
    Check(
        "DPM-HOME-PRIVATE",
        "Others can neither read nor change what is in the home",
        "`chmod 700` the home.",
        home_private,
    ),
    Check(
        "DPM-KEYS",
        "The keys of the bus are 0600, ours, and whole",
        "`chmod 600` them, or remove a broken one while the node is down: `dpm up` makes a new one.",
        keys_safe,
    ),
    Check(
        "DPM-DISK",
        "The disk of the home has room for packages",
        "Free some space, have the store take less (`dpm gc --down-to SIZE`), or let `DPM_HOME` name a folder on "
        "a larger disk.",
        space_left,
        settings=True,
    ),
)
