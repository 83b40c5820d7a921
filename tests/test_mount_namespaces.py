"""The layout of the home in containers: a mount made in one mount namespace is read in a sibling.

What containers do, without them: a host whose home is bound and rshared, fusefs in a namespace that shares
with the host, a reader in one that is the host's slave. All of it ends with the processes that hold the
namespaces; the machine's own mounts are never touched.
"""

import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from dpm_runtime.home import Home
from dpm_runtime.mounts import mounted_at
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.fusefs import FuseFs
from dpm_testkit.patience import PATIENCE
from dpm_testkit.store_samples import stored

pytestmark = pytest.mark.real

CONTENT = b"seen in a sibling\n"
BIND = 'mount --bind "$0" "$0" && mount --make-rshared "$0" && echo ready && exec sleep infinity'


@pytest.fixture
def namespaces() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@contextmanager
def holding(*command: str) -> Iterator[int]:
    """A process that says that it is ready and then only keeps its namespace; its id."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process.pid
        finally:
            process.kill()


def host(home: Home) -> AbstractContextManager[int]:
    """A machine of which ``home`` is a bound folder, rshared."""
    return holding("unshare", "-m", "--propagation", "private", "sh", "-c", BIND, str(home.root))


def container(host: int, propagation: str) -> tuple[str, ...]:
    """What goes before a command that is to run in a container of ``host``."""
    return ("nsenter", "-t", str(host), "-m", "unshare", "-m", "--propagation", propagation)


def read(pid: int, path: Path | str) -> bytes:
    """A file as the process ``pid`` sees it."""
    return subprocess.run(
        ["nsenter", "-t", str(pid), "-m", "cat", str(path)], check=True, stdout=subprocess.PIPE, timeout=PATIENCE
    ).stdout


async def test_a_running_sibling_sees_the_mount_and_the_one_that_follows_a_kill(
    home: Home, namespaces: ExitStack
) -> None:
    async with DiskBlobStore(home) as store:
        blob = await stored(store, 1, CONTENT)
    path = home.mount / "cid" / blob.cid
    machine = namespaces.enter_context(host(home))
    gateway = namespaces.enter_context(
        holding(*container(machine, "slave"), "sh", "-c", "echo ready && exec sleep infinity")
    )
    for _ in range(2):
        fuse = FuseFs(home, prefix=container(machine, "unchanged"))
        namespaces.callback(fuse.close)
        fuse.start()
        assert read(gateway, path) == CONTENT
        alive = read(gateway, home.mount / ".alive")
        assert alive.split()[0] == str(fuse.process.pid).encode()
        assert read(gateway, "/proc/self/mountinfo").count(f" {home.mount} ".encode()) == 1
        fuse.kill()
        with pytest.raises(subprocess.CalledProcessError):
            read(gateway, path)
    assert not mounted_at(home.mount)
