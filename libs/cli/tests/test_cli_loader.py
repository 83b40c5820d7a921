"""Services that are forked off a process that has loaded them, with services that are a few lines of Python."""

import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from dpm_cli import processes
from dpm_cli.loader import Forked, Loader
from dpm_cli.supervisor import Service, Supervisor
from dpm_runtime.home import Home
from dpm_testkit.patience import until

SERVICES = """
import os, pathlib, signal, sys

def here():
    pathlib.Path(os.environ["HERE"] + "." + sys.argv[0]).write_text(str(os.getpid()))
    print("began", flush=True)
    signal.pause()

def status():
    return 3

def fails():
    raise RuntimeError("out of order")
"""

ENTRIES = """
[dpm.services]
one = made_up_services:here
other = made_up_services:here
status = made_up_services:status
fails = made_up_services:fails
missing = made_up_services:nothing
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="there are loaders on Linux alone")


@pytest.fixture
def environment(home: Home, tmp_path: Path) -> Mapping[str, str]:
    """In which the services are installed."""
    (tmp_path / "made_up_services.py").write_text(SERVICES)
    (tmp_path / "made_up-1.dist-info").mkdir()
    (tmp_path / "made_up-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: made-up\nVersion: 1\n"
    )
    (tmp_path / "made_up-1.dist-info" / "entry_points.txt").write_text(ENTRIES)
    return {**os.environ, "PYTHONPATH": str(tmp_path), "HERE": str(tmp_path / "here")}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@asynccontextmanager
async def loading(environment: Mapping[str, str], home: Home) -> AsyncIterator[Loader]:
    async with Loader.running(processes.marked(environment, home.run)) as loader:
        assert loader is not None
        yield loader


async def forked(loader: Loader, service: str, home: Home) -> Forked:
    with (home.logs / f"{service}.log").open("ab") as log:
        child = await loader.fork(service, log)
    assert child is not None
    return child


def shown(pid: int) -> list[str]:
    """The command that ``ps`` shows."""
    return [each for each in psutil.Process(pid).cmdline() if each]


async def test_what_was_forked_waits_until_it_may_begin(
    environment: Mapping[str, str], home: Home, here: Path
) -> None:
    async with loading(environment, home) as loader:
        one, other = [await forked(loader, name, home) for name in ("one", "other")]
        assert psutil.Process(one.pid).ppid() == os.getpid()
        assert {each.pid for each in (one, other)} == {os.getsid(one.pid), os.getsid(other.pid)}
        assert shown(other.pid)[-1] == "other"
        one.begin()
        await until(Path(f"{here}.dpm-one").exists)
        assert not Path(f"{here}.dpm-other").exists()
    for each in (one, other):
        each.terminate()
        assert await each.wait() == each.returncode == -signal.SIGTERM
    assert (home.logs / "one.log").read_text() == "began\n"
    assert not Path(f"{here}.dpm-other").exists()


async def test_what_it_ends_with_is_told(environment: Mapping[str, str], home: Home) -> None:
    async with loading(environment, home) as loader:
        good, bad = [await forked(loader, name, home) for name in ("status", "fails")]
    good.begin()
    bad.begin()
    assert (await good.wait(), await bad.wait()) == (3, 1)
    assert "out of order" in (home.logs / "fails.log").read_text()


async def test_what_cannot_be_loaded_is_left_to_be_run_alone(environment: Mapping[str, str], home: Home) -> None:
    async with loading(environment, home) as loader:
        with (home.logs / "x.log").open("ab") as log:
            assert await loader.fork("missing", log) is None
            assert await loader.fork("not installed", log) is None
        child = await forked(loader, "status", home)
        child.begin()
        assert await child.wait() == 3


async def test_a_loader_that_was_killed_is_done_without(environment: Mapping[str, str], home: Home) -> None:
    async with loading(environment, home) as loader:
        child = await forked(loader, "one", home)
        (process,) = (each for each in psutil.Process().children() if "--together" in each.cmdline())
        process.kill()
        with (home.logs / "x.log").open("ab") as log:
            assert await loader.fork("other", log) is None
    child.terminate()
    assert await child.wait() == -signal.SIGTERM


async def test_a_service_that_nobody_waits_for_any_more_never_begins(
    environment: Mapping[str, str], home: Home, here: Path
) -> None:
    async with loading(environment, home) as loader:
        child = await forked(loader, "one", home)
        assert child._gate is not None
        child._gate.close()  # as when the supervisor is killed
        assert await child.wait() == 1
    assert not Path(f"{here}.dpm-one").exists()


async def test_a_supervisor_starts_by_a_loader_and_starts_again_without(
    environment: Mapping[str, str], home: Home, here: Path
) -> None:
    up = Path(f"{here}.dpm-one")

    async def waits_for(pid: int) -> str | None:
        return None if up.exists() and up.read_text() == str(pid) else "not there yet"

    service = Service("one", processes.service_command("one"), waits_for, 0, True, installed_as="one")
    supervisor = Supervisor([service], home, environment=environment, say=lambda text: None)
    try:
        await supervisor.start()
        (unit,) = supervisor.units
        assert unit.pid
        first = psutil.Process(unit.pid)
        assert shown(first.pid) == list(service.command)
        assert [each.leader for each in processes.leftovers(home.run)] == [first]
        await supervisor.suspend("one")
        assert not first.is_running()
        await supervisor.resume("one")
        assert unit.pid and shown(unit.pid) == list(service.command)
    finally:
        await supervisor.stop()
