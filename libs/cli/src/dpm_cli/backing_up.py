"""``dpm backup``: one file, of which a node can be made that holds what this one holds while this one goes on."""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from dpm_cli.lock import NodeLock
from dpm_cli.lone_bus import lone_bus
from dpm_cli.version import own_version
from dpm_core.errors import Invalid
from dpm_runtime.backup import HOMESERVER_DATABASE, End, Writer
from dpm_runtime.bus_address import bus_url
from dpm_runtime.cards import read_cards
from dpm_runtime.catalog import copy_catalog
from dpm_runtime.database_copy import copy_database
from dpm_runtime.disk import sync_folder
from dpm_runtime.home import Home
from dpm_runtime.nats_link import Link
from dpm_runtime.stream_copy import STALL_SECONDS, copying

PART_BYTES = 4 * 1024 * 1024
"""Of the log, in one member of the archive."""

SAY_EVERY = 1_000
"""Blobs between two words about how far it is."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class BackedUp:
    """The file, its size in bytes, how many events and blobs are in it, and how many blobs went while it was made,
    or nobody can say what they are.
    """

    file: str
    bytes: int
    events: int
    blobs: int
    left_out: int


def file_for(target: Path, now: float) -> Path:
    """The file to write: ``target``, or one named by the time, in it if it is a folder. Raises Invalid."""
    if target.is_dir():
        target = target / time.strftime("dpm-%Y%m%dT%H%M%SZ.tar", time.gmtime(now))
    if target.exists():
        raise Invalid(f"{target} is there already")
    if not target.parent.is_dir():
        raise Invalid(f"{target.parent} is no folder")
    return target


async def back_up(home: Home, target: Path, say: Say, *, blobs: bool) -> BackedUp:
    """Write the backup of a home, whether a node runs on it or not. It has its name once it is whole, and safe.

    The log is copied before the blobs: what it tells of is there by then. Raises Invalid, Unavailable, OSError.
    """
    if not home.version.exists():
        raise Invalid(f"there is no node on {home.root}")
    home.prepare()
    file = file_for(target, time.time())
    draft, copy = file.with_name(f"{file.name}~"), file.with_name(f"{file.name}.database~")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as out:
            events, held, left_out = await _write(home, Writer(out), copy, say, blobs=blobs)
            out.flush()
            os.fsync(out.fileno())
        draft.rename(file)
        sync_folder(file.parent)
    except FileExistsError:
        raise Invalid(f"{draft} is there: another backup is being made, or broke off; then remove it") from None
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    finally:
        copy.unlink(missing_ok=True)
    return BackedUp(str(file), file.stat().st_size, events, held, left_out)


async def _write(home: Home, archive: Writer, copy: Path, say: Say, *, blobs: bool) -> tuple[int, int, int]:
    archive.begin(home, own_version(), blobs=blobs)
    if copy_catalog(home.catalog, copy):  # before the log, which must not end before it
        archive.catalog(copy)
    copy.unlink(missing_ok=True)
    if home.has_homeserver and copy_database(home.homeserver / HOMESERVER_DATABASE, copy):
        archive.homeserver(home, copy)
    events, last = await _log(home, archive)
    say(f"{events} events")
    held = left_out = size = 0
    for each in archive.blobs(home) if blobs else ():
        if each is None:
            left_out += 1
            continue
        held, size = held + 1, size + each
        if held % SAY_EVERY == 0:
            say(f"{held} blobs")
    archive.end(End(held, size, last))
    return events, held, left_out


async def _log(home: Home, archive: Writer) -> tuple[int, int]:
    """Copy the log; how many events it has, and the sequence of the last."""
    async with _bus(home) as url:
        link = Link(url, "setup", home.key("setup"), timeout=STALL_SECONDS)
        async with link.kept():
            await link.up()
            async with copying(link) as (description, parts), aclosing(parts):
                archive.log(description)
                gathered = bytearray()
                async for part in parts:
                    gathered += part
                    if len(gathered) >= PART_BYTES:
                        archive.log_part(bytes(gathered))
                        gathered.clear()
                archive.log_part(bytes(gathered))
    return description["state"]["messages"], description["state"]["last_seq"]


@contextlib.asynccontextmanager
async def _bus(home: Home) -> AsyncIterator[str]:
    """The bus of the node that runs on the home, or one of our own if none does."""
    lock = NodeLock(home)
    if not lock.free() or any(read_cards(home)):
        yield bus_url(home)
        return
    with lock:
        async with lone_bus(home) as url:
            yield url
