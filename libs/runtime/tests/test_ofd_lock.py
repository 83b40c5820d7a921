import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dpm_core.errors import Conflict
from dpm_runtime.ofd_lock import OfdLock

HOLD = """
import sys
from pathlib import Path
from dpm_runtime.ofd_lock import OfdLock
lock = OfdLock.acquire(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_a_lock_is_held_by_one_at_a_time(path: Path) -> None:
    with OfdLock.acquire(path), pytest.raises(Conflict):
        OfdLock.acquire(path)
    OfdLock.acquire(path).close()


def test_a_query_sees_who_holds_and_disturbs_nobody(path: Path) -> None:
    assert not OfdLock.held(path)
    lock = OfdLock.acquire(path)
    assert OfdLock.held(path)
    assert OfdLock.held(path)
    lock.close()
    lock.close()
    assert not OfdLock.held(path)


def test_a_lock_file_that_must_be_there_is_not_made(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        OfdLock.acquire(path, create=False)
    assert not path.exists()


def test_a_lock_dies_with_its_process(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert OfdLock.held(path)
        with pytest.raises(Conflict):
            OfdLock.acquire(path)
        holder.kill()
        holder.wait()
    assert not OfdLock.held(path)


def test_a_critical_section_is_waited_for(path: Path) -> None:
    holder = OfdLock.acquire(path)
    threading.Timer(0.05, holder.close).start()
    OfdLock.acquire_within(path, 20.0).close()


def test_a_wait_for_a_critical_section_ends(path: Path) -> None:
    with OfdLock.acquire(path), pytest.raises(Conflict):
        OfdLock.acquire_within(path, 0.02)
