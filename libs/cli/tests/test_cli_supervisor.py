"""The supervisor, with services that are a few lines of Python each."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from dpm_cli import processes
from dpm_cli.node import forget
from dpm_cli.outcome import WrongState
from dpm_cli.supervisor import Ailment, Service, State, Supervisor, Unit
from dpm_core.backoff import Backoff
from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.home import Home
from dpm_testkit.patience import until

AT_ONCE = Backoff(first=0.01, most=0.01)

PATIENT = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[2], "a").write(sys.argv[1] + "\\n"), sys.exit(0)))
pathlib.Path(sys.argv[2] + "." + sys.argv[1]).touch()
while True:
    signal.pause()
"""
"""Says that it is up by a file, and writes its name into the diary when it is asked to end."""

STUBBORN = """
import pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[2] + "." + sys.argv[1]).touch()
while True:
    signal.pause()
"""

PARENT = """
import pathlib, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
pathlib.Path(sys.argv[2] + "." + sys.argv[1]).write_text(str(child.pid))
while True:
    signal.pause()
"""


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


def service(name: str, diary: Path, script: str = PATIENT, stage: int = 0) -> Service:
    up = Path(f"{diary}.{name}")

    async def waits_for(pid: int) -> str | None:
        return None if up.exists() else "not there yet"

    return Service(name, (sys.executable, "-c", script, name, str(diary)), waits_for, stage)


@asynccontextmanager
async def supervised(
    home: Home,
    *services: Service,
    backoff: Backoff = AT_ONCE,
    grace: float = 10.0,
    patience: float = 30.0,
    care: float = 0.01,
) -> AsyncIterator[tuple[Supervisor, list[str]]]:
    said: list[str] = []
    supervisor = Supervisor(
        services,
        home,
        environment=dict(os.environ),
        say=said.append,
        grace=grace,
        patience=patience,
        backoff=backoff,
        care=care,
    )
    try:
        yield supervisor, said
    finally:
        await supervisor.stop()


async def restarted(unit: Unit, times: int) -> None:
    await until(lambda: unit.restarts == times and unit.state == State.RUNNING)


async def test_a_stage_starts_once_the_one_below_is_ready(home: Home, diary: Path) -> None:
    provisioned: list[bool] = []
    second = service("second", diary, stage=1)
    first = service("first", diary)

    async def provision() -> None:
        provisioned.append(Path(f"{diary}.second").exists())

    first = Service(first.name, first.command, first.waits_for, when_ready=provision)
    async with supervised(home, first, second) as (supervisor, _):
        await supervisor.start()
        assert [unit.state for unit in supervisor.units] == [State.RUNNING, State.RUNNING]
    assert provisioned == [False]


async def test_all_end_in_reverse_order_and_leave_nothing_in_the_run_folder(home: Home, diary: Path) -> None:
    services = [service(name, diary, stage=stage) for stage, name in enumerate(["bus", "mount", "gateway"])]
    async with supervised(home, *services) as (supervisor, _):
        await supervisor.start()
        home.socket("gateway").touch()
        home.card("gateway").touch()
        pids = [unit.pid for unit in supervisor.units]
        assert {path.name for path in home.run.glob("*.pid")} == {"bus.pid", "mount.pid", "gateway.pid"}
    assert diary.read_text().split() == ["gateway", "mount", "bus"]
    assert [path.name for path in home.run.iterdir() if path.is_file() or path.is_socket()] == []
    assert not any(psutil.pid_exists(pid) for pid in pids if pid)


async def test_a_service_that_ails_is_started_again_once_that_mends_it(home: Home, diary: Path) -> None:
    ailment: list[Ailment | None] = [Ailment("it cannot write", curable=False)]

    async def ails() -> Ailment | None:
        return ailment[0]

    bus = service("bus", diary)
    bus = Service(bus.name, bus.command, bus.waits_for, ails=ails)
    async with supervised(home, bus) as (supervisor, said):
        await supervisor.start()
        (unit,) = supervisor.units
        await until(lambda: unit.detail == "it cannot write")
        assert (unit.state, unit.restarts) == (State.RUNNING, 0)
        ailment[0] = Ailment("it cannot write", curable=True)
        await until(lambda: unit.restarts == 1)
        ailment[0] = None
        await until(lambda: unit.state == State.RUNNING and not unit.detail)
    assert "bus: it cannot write; it is started again" in said


async def test_a_service_that_is_killed_runs_again_as_another_process(home: Home, diary: Path) -> None:
    async with supervised(home, service("fetcher", diary)) as (supervisor, said):
        await supervisor.start()
        (unit,) = supervisor.units
        first = unit.pid
        assert first
        os.kill(first, signal.SIGKILL)
        await restarted(unit, 1)
        assert unit.pid != first
    assert said[0] == "fetcher was ended by SIGKILL; it starts again in 0.01 s"
    assert said[1].startswith("fetcher runs again, pid ")


def test_pauses_double_up_to_their_limit() -> None:
    backoff = Backoff()
    assert [backoff.after(failures) for failures in (1, 2, 3, 7, 1000)] == pytest.approx(
        [0.1, 0.2, 0.4, 6.4, 30.0]
    )


@pytest.mark.parametrize(("healthy", "failures"), [(0.0, [1, 1, 1]), (1000.0, [1, 2, 3])])
async def test_only_a_run_that_was_healthy_for_long_makes_the_pause_short_again(
    home: Home, diary: Path, healthy: float, failures: list[int]
) -> None:
    asked: list[int] = []

    class Noting(Backoff):
        def after(self, failures: int) -> float:
            asked.append(failures)
            return 0.0

    async with supervised(home, service("fetcher", diary), backoff=Noting(healthy=healthy)) as (supervisor, _):
        await supervisor.start()
        (unit,) = supervisor.units
        for restarts in range(3):
            assert unit.pid
            os.kill(unit.pid, signal.SIGKILL)
            await restarted(unit, restarts + 1)
    assert asked == failures


async def test_a_suspended_service_stays_ended_until_it_is_resumed(home: Home, diary: Path) -> None:
    async with supervised(home, service("fetcher", diary)) as (supervisor, _):
        await supervisor.start()
        await supervisor.suspend("fetcher")
        (unit,) = supervisor.units
        assert (unit.state, unit.pid) == (State.STOPPED, None)
        with pytest.raises(WrongState, match="stopped already"):
            await supervisor.suspend("fetcher")
        await supervisor.resume("fetcher")
        assert unit.state == State.RUNNING
        with pytest.raises(WrongState, match="runs already"):
            await supervisor.resume("fetcher")


async def test_an_unknown_service_is_named_with_those_that_there_are(home: Home, diary: Path) -> None:
    async with supervised(home, service("fetcher", diary)) as (supervisor, _):
        with pytest.raises(Invalid, match=r"'fetch'; there are fetcher"):
            await supervisor.suspend("fetch")


async def test_a_service_that_ends_while_it_starts_fails_the_start_and_shows_its_log(
    home: Home, diary: Path
) -> None:
    broken = service("fetcher", diary, script="raise SystemExit('no disk')")
    async with supervised(home, broken) as (supervisor, _):
        with pytest.raises(Unavailable, match=r"(?s)fetcher ended with status 1 while it started.*no disk"):
            await supervisor.start()


async def test_a_service_that_is_never_ready_fails_the_start_and_says_what_it_waits_for(
    home: Home, diary: Path
) -> None:
    slow = service("fetcher", diary, script="import signal; signal.pause()")
    async with supervised(home, slow, patience=0.3) as (supervisor, _):
        with pytest.raises(Unavailable, match=r"not ready after 0.3 s: not there yet"):
            await supervisor.start()


async def test_a_program_that_is_not_there_fails_the_start(home: Home, diary: Path) -> None:
    real = service("fetcher", diary)
    gone = Service("fetcher", ("/nowhere/fetcher",), real.waits_for)
    async with supervised(home, gone) as (supervisor, _):
        with pytest.raises(Unavailable, match="fetcher could not be started"):
            await supervisor.start()


async def test_a_service_that_ignores_the_request_to_end_is_killed(home: Home, diary: Path) -> None:
    async with supervised(home, service("fetcher", diary, STUBBORN), grace=0.1) as (supervisor, said):
        await supervisor.start()
        (unit,) = supervisor.units
        pid = unit.pid
        await supervisor.stop()
        assert pid and not psutil.pid_exists(pid)
    assert said == ["fetcher did not end within 0.1 s: killing it"]


async def test_what_a_dead_service_had_started_dies_with_it(home: Home, diary: Path) -> None:
    async with supervised(home, service("gateway", diary, PARENT)) as (supervisor, _):
        await supervisor.start()
        (unit,) = supervisor.units
        await until(lambda: bool(Path(f"{diary}.gateway").read_text()))
        grandchild = psutil.Process(int(Path(f"{diary}.gateway").read_text()))
        assert unit.pid
        os.kill(unit.pid, signal.SIGKILL)
        await until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


async def spawned(home: Home, name: str, script: str, diary: Path) -> processes.Spawned:
    process = await processes.spawn(
        name,
        (sys.executable, "-c", script, name, str(diary)),
        run=home.run,
        log=home.logs / f"{name}.log",
        environment=dict(os.environ),
    )
    await until(Path(f"{diary}.{name}").exists)
    return process


async def test_what_a_killed_supervisor_left_is_ended_by_the_next_one(home: Home, diary: Path) -> None:
    left = [await spawned(home, name, PATIENT, diary) for name in ("nats", "gateway")]
    home.card("gateway").touch()
    said: list[str] = []
    assert forget(home, ("nats", "gateway"), said.append) == 2
    assert not any(psutil.pid_exists(process.pid) for process in left)
    assert diary.read_text().split() == ["gateway", "nats"]
    assert [text.split(" ")[0] for text in said] == ["gateway", "nats"]
    assert not list(home.run.glob("*.pid")) and not home.card("gateway").exists()


@pytest.mark.parametrize("began", [0.0, None])
def test_a_stranger_that_has_the_pid_of_an_old_service_is_left_alone(home: Home, began: float | None) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
    try:
        began = psutil.Process(stranger.pid).create_time() if began is None else began
        (home.run / "fetcher.pid").write_text(json.dumps({"pid": stranger.pid, "create_time": began}))
        assert processes.leftovers(home.run) == []
    finally:
        stranger.kill()
        stranger.wait()


async def test_a_log_that_has_grown_large_is_set_aside_when_its_service_starts(
    home: Home, diary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "LOG_LIMIT_BYTES", 3)
    (home.logs / "fetcher.log").write_text("long")
    process = await spawned(home, "fetcher", PATIENT, diary)
    process.terminate()
    await process.wait()
    assert (home.logs / "fetcher.log.1").read_text() == "long"
    assert (home.logs / "fetcher.log").read_text() == ""


async def test_a_service_that_came_later_is_started_alone_and_ends_before_the_others(
    home: Home, diary: Path
) -> None:
    async with supervised(home, service("first", diary)) as (supervisor, _):
        await supervisor.start()
        (first,) = supervisor.units
        pid = first.pid
        supervisor.add(service("later", diary, stage=1))
        await supervisor.resume("later")
        assert [unit.state for unit in supervisor.units] == [State.RUNNING, State.RUNNING]
        assert first.pid == pid
    assert diary.read_text().split() == ["later", "first"]
