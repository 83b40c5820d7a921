"""Small disks of a test's own, one that runs full and one that fails. Making them takes root, as mounting does."""

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dpm_runtime.disk import Space

MIB = 1024 * 1024


@dataclass(frozen=True)
class SmallDisk:
    """A file system in memory, mounted at ``folder``, that somebody else fills."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self, left: int = 0) -> None:
        """Take all but ``left`` bytes."""
        with self._ballast.open("ab") as file:
            size = Space.of(self.folder).free - left
            while size > 0:
                try:
                    size -= os.write(file.fileno(), bytes(min(size, MIB)))
                except OSError:
                    return

    def free(self) -> None:
        """Give back what was taken."""
        self._ballast.unlink()


@contextlib.contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[SmallDisk]:
    """A disk of ``mib`` MiB for as long as the context lasts. ``folder`` is made."""
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "dpm-test", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        _run("umount", "-l", str(folder))


@dataclass(frozen=True)
class FailingDisk:
    """An ext4 on a loop device, mounted at ``folder``, that can lose its end."""

    folder: Path
    image: Path
    device: str

    def lose_all_behind(self, file: Path) -> None:
        """Of all blocks behind those of ``file``, which is on it, none can be read or written any more: EIO."""
        self._cut(_extents(file)[-1].stop)

    def lose_end_of(self, file: Path) -> None:
        """The last block of ``file`` cannot be read any more, nor what is behind it."""
        self._cut(_extents(file)[-1].stop - 1)
        fd = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    def _cut(self, blocks: int) -> None:
        os.truncate(self.image, blocks * os.statvfs(self.folder).f_bsize)
        _run("losetup", "--set-capacity", self.device)


@contextlib.contextmanager
def failing_disk(folder: Path, mib: int) -> Iterator[FailingDisk]:
    """A disk of ``mib`` MiB that is well at first. ``folder`` is made, and its image beside it."""
    folder.mkdir()
    image = folder.with_suffix(".image")
    image.touch()
    os.truncate(image, mib * MIB)
    # inline_data: folders and small files lie in their inodes, at the start of the disk, which does not fail
    features = ("-O", "^has_journal,inline_data", "-I", "1024", "-E", "lazy_itable_init=0")
    _run("mkfs.ext4", "-q", "-b", "4096", *features, str(image))
    device = _run("losetup", "--find", "--show", str(image)).strip()
    try:
        _run("mount", "-o", "errors=continue", device, str(folder))
        try:
            yield FailingDisk(folder, image, device)
        finally:
            _run("umount", "-l", str(folder))
    finally:
        _run("losetup", "--detach", device)
        image.unlink()


def _extents(file: Path) -> list[range]:
    """Where a file's blocks are on its disk, in that order."""
    os.sync()
    shown = _run("filefrag", "-e", str(file))
    found = re.findall(r"^ *\d+: +\d+\.\. +\d+: +(\d+)\.\. +(\d+):", shown, re.MULTILINE)
    return sorted((range(int(first), int(last) + 1) for first, last in found), key=lambda each: each.start)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
