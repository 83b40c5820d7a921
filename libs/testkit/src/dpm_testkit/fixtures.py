"""For the tests of all members: a home, a store over it, a fusefs that shows it, another's attempt, telemetry, and
a user without settings.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.fusefs import FuseFs
from dpm_testkit.told import Told

WRITER = """
import asyncio, sys
from pathlib import Path
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore
from dpm_testkit.store_samples import BODY, GOT, begun, open_state, want

async def main():
    store = DiskBlobStore(Home(Path(sys.argv[1])))
    attempt = await begun(store, 7, want(), open_state(), BODY[:GOT])
    print("written", flush=True)
    await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home of its own, prepared; its path is short enough for unix sockets."""
    home = Home(tmp_path_factory.mktemp("h"))
    home.prepare()
    return home


@pytest.fixture
async def store(home: Home) -> AsyncIterator[DiskBlobStore]:
    """The store of that home."""
    async with DiskBlobStore(home) as store:
        yield store


@pytest.fixture
def fuse(home: Home) -> Iterator[FuseFs]:
    """A fusefs that has mounted that home."""
    fuse = FuseFs(home)
    try:
        fuse.start()
        yield fuse
    finally:
        fuse.close()


@pytest.fixture
async def writer(home: Home) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that has written GOT bytes of an attempt (token 7) at BODY, and lives."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(home.root), stdin=pipe, stdout=pipe
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"written\n"
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


@pytest.fixture
def told() -> Told:
    """What the code under test tells of itself from here on."""
    return Told()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a user with no settings of any kind, who is in it."""
    folders = ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "POETRY_CONFIG_DIR")
    files = ("PIP_CONFIG_FILE", "UV_CONFIG_FILE", "UV_NO_CONFIG", "PDM_CONFIG_FILE")
    for name in (*folders, *files, "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DPM_HOME", str(tmp_path / "dpm"))
    monkeypatch.chdir(tmp_path)
    return tmp_path
