"""Whether bytes of a file are in memory."""

import mmap
import os
from pathlib import Path

import pytest

from dpm_runtime.page_cache import in_memory

SIZE = 5 * mmap.PAGESIZE + 7


@pytest.fixture
def file(tmp_path: Path) -> int:
    (tmp_path / "file").write_bytes(os.urandom(SIZE))
    return os.open(tmp_path / "file", os.O_RDONLY)


@pytest.mark.parametrize(("offset", "size"), [(0, SIZE), (mmap.PAGESIZE + 3, 10), (SIZE - 1, 1)])
def test_what_was_just_written_is_in_memory(file: int, offset: int, size: int) -> None:
    assert in_memory(file, offset, size)


def test_what_nobody_has_read_or_written_is_not(file: int, tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as sparse:
        sparse.truncate(SIZE)
    assert not in_memory(os.open(tmp_path / "sparse", os.O_RDONLY), 0, SIZE)
    os.truncate(tmp_path / "file", SIZE + mmap.PAGESIZE)
    assert in_memory(file, 0, SIZE)
    assert not in_memory(file, 0, SIZE + mmap.PAGESIZE)


def test_of_another_users_file_nobody_can_tell(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert not in_memory(file, 0, SIZE)
