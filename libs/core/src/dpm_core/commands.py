"""What an operator asks of the fetcher that keeps the store, and what comes back, as plain data."""

from dataclasses import dataclass

from dpm_core.cids import Cid


@dataclass(frozen=True)
class Item:
    """An artifact that is held, as people see it. ``size`` in bytes, times in seconds since the epoch."""

    id: str
    ecosystem: str
    name: str
    cid: Cid
    size: int
    stored_at: float
    used_at: float
    pinned: bool


@dataclass(frozen=True)
class Selection:
    """Held artifacts by their ids or names, in which ``*`` and ``?`` stand for anything; None: all ecosystems."""

    names: tuple[str, ...]
    ecosystem: str | None = None


@dataclass(frozen=True)
class Passed:
    """An artifact with which nothing was done, and why."""

    item: Item
    why: str


@dataclass(frozen=True)
class Changed:
    """What a command has done, and what it has not."""

    done: tuple[Item, ...]
    passed: tuple[Passed, ...] = ()


@dataclass(frozen=True)
class Collect:
    """Make room until ``down_to`` bytes are held, None: as the quota says; ``dry_run``: only say what would go."""

    down_to: int | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Collected:
    """What was evicted, and the blobs that nobody had any more. ``freed`` counts the bytes of both."""

    evicted: tuple[Item, ...]
    leftovers: tuple[Cid, ...]
    freed: int


@dataclass(frozen=True)
class Check:
    """Hash every blob on the disk."""


@dataclass(frozen=True)
class Bad:
    """A blob that was set aside, and what was wrong with it."""

    cid: Cid
    why: str


@dataclass(frozen=True)
class Checked:
    """How many ``blobs`` were hashed, which were set aside, and which the catalog had though their file was gone.

    ``unnamed`` counts those that no artifact has.
    """

    blobs: int
    bad: tuple[Bad, ...]
    lost: tuple[Cid, ...]
    unnamed: int


@dataclass(frozen=True)
class Repair:
    """Tell the log of what lies in the store and is not in the log."""


@dataclass(frozen=True)
class Repaired:
    """What the log was told from what is kept beside ``blobs`` (so many have a file).

    Counted are artifacts: those it was ``told`` of, those it had ``known``, those that were ``evicted`` while
    others kept their bytes, and those that are ``pinned`` again. ``busy`` are the names of those that are being
    fetched, ``bad`` the blobs of which nobody can say what they are.
    """

    blobs: int
    told: int
    known: int
    evicted: int
    pinned: int
    busy: tuple[str, ...]
    bad: tuple[Bad, ...]
