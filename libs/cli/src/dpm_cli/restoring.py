"""``dpm restore``: an empty home becomes what the node of a backup held."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from dpm_cli.lock import NodeLock, require_short
from dpm_cli.lone_bus import lone_bus
from dpm_cli.outcome import WrongState
from dpm_core.errors import Invalid
from dpm_runtime.backup import END, LOG, LOG_PART, Filler, Head, Part, cid_of_part, read_end, read_head, read_parts
from dpm_runtime.home import LAYOUT, RESTORING, Home
from dpm_runtime.nats_link import Link
from dpm_runtime.stream_copy import STALL_SECONDS, Description, restore

SAY_EVERY = 1_000
"""Blobs between two words about how far it is."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Bad:
    """A blob that is not what its name says, or that nobody can say what it is, and why."""

    cid: str
    why: str


@dataclass(frozen=True)
class Restored:
    """The home, the version that made the backup and when (seconds since the epoch), how many events and blobs it
    gave, the blobs that were left out, and the networks in which the node is now who that one was.
    """

    home: str
    version: str
    made_at: float
    events: int
    blobs: int
    bad: tuple[Bad, ...]
    networks: tuple[str, ...]


def require_empty(home: Home) -> None:
    """Raises WrongState if there is anything where the home is to be, or its vault."""
    for folder in (home.root, *([home.vault] if home.vault else [])):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise WrongState(f"{folder} is not empty: a backup is restored into a home that is")


async def restore_into(home: Home, backup: BinaryIO, say: Say, *, networks: bool = True) -> Restored:
    """Fill the empty home from a backup. What it began is gone if it fails; if it is killed, the home says so.

    Without ``networks`` it is in none of those that the backup was in.
    Raises WrongState, Invalid for what is no backup or half of one, TooNew, Unavailable, OSError.
    """
    require_empty(home)
    require_short(home)
    parts = read_parts(backup)
    head = read_head(_next(parts))
    try:
        home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.write_version(RESTORING)
        for folder in (home.keys, home.nats):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.make_folders()
        with NodeLock(home):
            restored = await _fill(home, head, parts, say, Filler(home, networks=networks))
        os.sync()  # once for all of it: a home that is cut off before says so
        home.write_version(f"{LAYOUT}")
    except BaseException:
        _empty(home)
        raise
    return restored


async def _fill(home: Home, head: Head, parts: Iterator[Part], say: Say, filler: Filler) -> Restored:
    bad = list[Bad]()
    blobs = events = 0
    ahead = next(parts, None)
    while (part := ahead) is not None:
        if part.name == LOG:
            events, ahead = await _log(home, part, parts)
            say(f"{events} events")
            continue
        cid, wrong = cid_of_part(part), filler.put(part)
        if wrong is not None:
            bad.append(Bad(str(cid), wrong))
            say(f"{cid}: {wrong}")
        elif cid is not None:
            blobs += 1
            if blobs % SAY_EVERY == 0:
                say(f"{blobs} blobs")
        if part.name == END and (put := read_end(part).blobs) != blobs + len(bad):
            raise Invalid(f"the backup holds {blobs + len(bad)} blobs, and its end speaks of {put}")
        ahead = next(parts, None)
    networks = tuple(home.network_names)
    return Restored(str(home.root), head.version, head.made_at, events, blobs, tuple(bad), networks)


async def _log(home: Home, described: Part, parts: Iterator[Part]) -> tuple[int, Part | None]:
    """Make the log; how many events it has, and the member behind it."""
    description: Description = json.loads(described.read())
    behind: list[Part] = []

    def copy() -> Iterator[bytes]:
        for part in parts:
            if not part.name.startswith(LOG_PART):
                behind.append(part)
                return
            yield part.read()

    async with lone_bus(home) as url:
        link = Link(url, "setup", home.key("setup"), timeout=STALL_SECONDS)
        async with link.kept():
            await link.up()
            await restore(link, description, copy())
    return int(description["state"]["messages"]), behind[0] if behind else None


def _next(parts: Iterator[Part]) -> Part:
    part = next(parts, None)
    if part is None:
        raise Invalid("the backup is empty")
    return part


def _empty(home: Home) -> None:
    for folder in (home.root, *([home.vault] if home.vault else [])):
        for each in folder.iterdir() if folder.exists() else ():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    each.unlink()
