"""The folder of tables: each file whole, all of them bounded. Anyone may delete any of it at any time."""

import os
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

from dpm_gateway.fact_table import Damaged, Table

SUFFIX = ".facts"

KEPT_BYTES = 1024 * 1024 * 1024
"""Of tables in the folder; those that were not opened for the longest time go first."""

EVERY = 100
"""Tables that this process writes between two looks at how large the folder is."""

STRAY_SECONDS = 3600.0
"""A draft, or what another version kept here, goes after so long."""

_written = count()


def load(file: Path) -> Table | None:
    """The table in ``file``, None if there is none that is whole; one that is not goes."""
    try:
        table = Table.open(file)
        os.utime(file)
    except Damaged:
        discard(file)
        return None
    except OSError:
        return None
    return table


def keep(file: Path, encoded: bytes) -> bool:
    """Have a table in ``file``. Returns whether that could be done."""
    draft = file.with_name(f"{file.name}~{os.getpid()}")  # other gateways write the same
    try:
        draft.write_bytes(encoded)
        draft.replace(file)
    except OSError:
        discard(draft)
        return False
    if next(_written) % EVERY == 0:
        tidy(file.parent, time.time())
    return True


def discard(file: Path) -> None:
    """It is of no use."""
    with suppress(OSError):
        file.unlink()


def tidy(folder: Path, now: float, most: int = KEPT_BYTES) -> None:
    """Delete tables beyond ``most`` bytes, and strays; ``now`` is in seconds since the epoch."""
    found: list[tuple[float, int, Path]] = []
    with suppress(OSError):
        for each in os.scandir(folder):
            with suppress(FileNotFoundError):
                about = each.stat()
                found.append((about.st_mtime, about.st_size, Path(each.path)))
    total = 0
    for used, size, file in sorted(found, reverse=True):
        table = file.suffix == SUFFIX
        total += size if table else 0
        if total > most if table else now - used > STRAY_SECONDS:
            discard(file)
