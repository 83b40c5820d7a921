"""Child processes: starting one, ending one, and finding what an earlier supervisor left behind.

Each child leads a session of its own, so the terminal's Ctrl-C does not reach it and its own children can be
found. ``<run>/<service>.pid`` says which process it is and when that began; without both fitting, nothing is
ever killed.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import psutil

from dpm_cli import launch
from dpm_cli.loader import Loader
from dpm_runtime import whole_file

MARK = "_DPM_RUN"
"""In the environment of every child: the run folder of its node."""

CLOCK_STEP = 2.0
"""Seconds by which the clock may have been set meanwhile; start times count from it."""

LOG_LIMIT_BYTES = 16 * 1024 * 1024
"""A log larger than this becomes ``<name>.log.1`` when its service starts."""


class Child(Protocol):
    """A child process."""

    @property
    def pid(self) -> int: ...  # noqa: D102

    @property
    def returncode(self) -> int | None:
        """Its exit status, None while it runs."""

    def begin(self) -> None:
        """Let one that is held begin. Nothing, for others."""

    def terminate(self) -> None:
        """SIGTERM. Raises ProcessLookupError if it has ended."""

    async def wait(self) -> int:
        """Its exit status, once it has ended."""


class Spawned:
    """A child that runs a command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.terminate = process.terminate
        self.wait = process.wait

    @property
    def returncode(self) -> int | None:
        """See :class:`Child`."""
        return self._process.returncode

    def begin(self) -> None:
        """See :class:`Child`."""
        if self._process.stdin is not None:
            self._process.stdin.close()


def service_command(name: str) -> tuple[str, ...]:
    """The command that runs an installed service."""
    return (sys.executable, "-P", launch.__file__, str(os.getpid()), name)


async def spawn(
    name: str, command: Sequence[str], *, run: Path, log: Path, environment: Mapping[str, str], held: bool = False
) -> Spawned:
    """Start a child, its output appended to ``log``, and write its pid file. Raises OSError.

    One that is ``held`` begins when its stdin ends; others have none.
    """
    with open_log(log) as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if held else asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=marked(environment, run),
            start_new_session=True,
        )
    _note(run / f"{name}.pid", process.pid)
    return Spawned(process)


async def fork(name: str, service: str, loader: Loader, *, run: Path, log: Path) -> Child | None:
    """As ``spawn``, by a loader whose environment is ``marked``: held. None if it cannot. Raises OSError."""
    with open_log(log) as output:
        forked = await loader.fork(service, output)
    if forked is not None:
        _note(run / f"{name}.pid", forked.pid)
    return forked


def marked(environment: Mapping[str, str], run: Path) -> Mapping[str, str]:
    """The environment of a child of the node with this run folder."""
    return {**environment, MARK: str(run)}


def open_log(log: Path) -> BinaryIO:
    """The log to append to; a large one is set aside first. Raises OSError."""
    if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
        log.replace(log.with_suffix(".log.1"))
    return log.open("ab")


def kill_stragglers(leader: int, run: Path) -> None:
    """SIGKILL what a child that has ended left of its session."""
    for process in _session(leader, run):
        with contextlib.suppress(psutil.Error):
            process.kill()


@dataclass(frozen=True)
class Leftover:
    """A service whose supervisor has gone: its own process if that lives, and others of its session."""

    name: str
    leader: psutil.Process | None
    others: tuple[psutil.Process, ...]

    @property
    def processes(self) -> list[psutil.Process]:
        """All of them."""
        return [*([self.leader] if self.leader else []), *self.others]


def leftovers(run: Path) -> list[Leftover]:
    """Services of earlier supervisors of this home that still have a process."""
    found: list[Leftover] = []
    for path in sorted(run.glob("*.pid")):
        noted = _noted(path)
        if noted is None:
            continue
        leader = _same(*noted, run)
        others = tuple(each for each in _session(noted[0], run) if leader is None or each.pid != leader.pid)
        if leader or others:
            found.append(Leftover(path.stem, leader, others))
    return found


def end(leftover: Leftover, grace: float) -> None:
    """SIGTERM to the service, SIGKILL after ``grace`` seconds to whatever of it is left; waits for its end."""
    if leftover.leader:
        with contextlib.suppress(psutil.Error):
            leftover.leader.terminate()
        psutil.wait_procs([leftover.leader], timeout=grace)
    for process in leftover.processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(leftover.processes, timeout=grace)


def how_it_ended(status: int) -> str:
    """An exit status of a child in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log, for a message to a person."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def _note(path: Path, pid: int) -> None:
    with contextlib.suppress(psutil.Error):  # it has ended already
        noted = {"pid": pid, "create_time": psutil.Process(pid).create_time()}
        whole_file.replace(path, json.dumps(noted).encode())


def _noted(path: Path) -> tuple[int, float] | None:
    try:
        noted = json.loads(path.read_bytes())
        return int(noted["pid"]), float(noted["create_time"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _same(pid: int, create_time: float, run: Path) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        if abs(process.create_time() - create_time) < CLOCK_STEP and _ours(process, run):
            return process
    return None


def _ours(process: psutil.Process, run: Path) -> bool:
    return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == str(run)


def _session(leader: int, run: Path) -> list[psutil.Process]:
    """The living processes of a session that carry this node's mark."""
    found: list[psutil.Process] = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(pid) == leader:
                process = psutil.Process(pid)
                if _ours(process, run):
                    found.append(process)
    return found
