"""How the indexes of a mirror become others: all at once, or one file after the other, in one order or another."""

import filecmp
import os
import shutil
from collections.abc import Awaitable, Callable
from enum import Enum
from itertools import count
from pathlib import Path

Between = Callable[[Path], Awaitable[None]]
"""What to do after a file was replaced, which is told by its path below the folder of indexes."""

_RELEASES = ("InRelease", "Release", "Release.gpg")


class Order(Enum):
    """Which files of a new generation come first."""

    AT_ONCE = "at once"
    """The folder is exchanged for another one."""
    RELEASE_LAST = "release last"
    """As mirrors should: whoever reads the new InRelease finds its indexes, though old ones are gone before it."""
    RELEASE_FIRST = "release first"
    """As a copy by name does it: the new InRelease names indexes that are not there yet."""


async def _nothing(_path: Path) -> None:
    return


class Published:
    """A folder at ``place`` that a server has, replaced generation by generation.

    No two generations of a file have the same time, so that a server's validators tell them apart.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        place.parent.mkdir(parents=True, exist_ok=True)
        self._numbers = count(1)
        self._stamp = int(place.parent.stat().st_mtime) - 1_000_000

    async def become(
        self, staged: Path, order: Order = Order.AT_ONCE, between: Between = _nothing, *, prune: bool = True
    ) -> None:
        """Have what ``staged`` has, in this order; with ``prune``, then nothing else."""
        self._stamp += 1
        if order is Order.AT_ONCE or not self.place.exists():
            self._exchange(staged, prune)
            return
        new = sorted(self._changed(staged), key=lambda path: (path.name in _RELEASES, path))
        if order is Order.RELEASE_FIRST:
            new = sorted(new, key=lambda path: path.name not in _RELEASES)
        for path in new:
            self._put(staged / path, self.place / path)
            await between(path)
        if prune:
            for path in _files(self.place) - _files(staged):
                (self.place / path).unlink()

    def _exchange(self, staged: Path, prune: bool) -> None:
        """A folder of its own for each generation, to which a link leads."""
        folder = self.place.parent / f".{self.place.name}-{next(self._numbers)}"
        folder.mkdir()
        changed = self._changed(staged)
        for path in _files(staged):
            if path in changed:
                self._put(staged / path, folder / path)
            else:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).hardlink_to((self.place / path).resolve())
        old = self.place.resolve() if self.place.exists() else None
        if old and not prune:
            for path in _files(old) - _files(staged):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).hardlink_to(old / path)
        link = folder.with_suffix(".link")
        link.symlink_to(folder.name)
        link.replace(self.place)
        if old:
            shutil.rmtree(old)

    def _changed(self, staged: Path) -> set[Path]:
        return {
            path
            for path in _files(staged)
            if not (self.place / path).exists() or not filecmp.cmp(staged / path, self.place / path, shallow=False)
        }

    def _put(self, source: Path, place: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        copy = place.with_name(f".{place.name}.new")
        shutil.copyfile(source, copy)
        os.utime(copy, (self._stamp, self._stamp))
        copy.replace(place)


def _files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
