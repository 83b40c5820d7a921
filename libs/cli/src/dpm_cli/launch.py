"""The first thing that services of the supervisor run: it ties their lives to the supervisor's.

    launch.py <pid of the supervisor> <name of a service>
    launch.py <pid of the supervisor> --together <descriptor of a socket>

The first runs one service in this process. The second loads all services that it is asked for on the socket,
one after the other, and forks each off as soon as it is loaded: most of what services load is the same, so that
each but the first is there in a tenth of the time, and shares the memory. :mod:`dpm_cli.loader` asks.
"""

import ctypes
import gc
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from dpm_runtime.tied import die_with

Run: TypeAlias = Callable[[], object]
"""A service that is loaded; it returns its exit status."""

REQUEST_BYTES = 4096


def load(name: str) -> Run:
    """The service that is installed under ``name``."""
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="dpm.services", name=name)
    gc.disable()  # of what is loaded nothing goes: to look for it takes a seventh of a start
    run: Run = entry.load()
    gc.freeze()
    gc.enable()
    return run


def alone(supervisor: int, name: str) -> object:
    """Run the service until it ends; what it returns is the exit status.

    It is loaded at once, and begins when stdin ends: loading takes most of a start, and may go on beside that of
    what it needs.
    """
    die_with(supervisor)
    sys.argv = [f"dpm-{name}"]
    run = load(name)
    sys.stdin.buffer.read()
    return run()


def together(supervisor: int, channel: socket.socket) -> object:
    """Fork off what is asked for, until the socket ends.

    A request is the name of a service, as JSON, with its stdin and its log; the answer its pid, null if it cannot
    be loaded or forked: who runs it alone sees why. Returns in the services, too, with their exit status.
    """
    die_with(supervisor)
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, REQUEST_BYTES, 2)
        if not request:
            return 0
        name = str(json.loads(request))
        pid: int | None = None
        try:
            run = load(name)
            if _is_alone():
                pid = _forked(name)
        except Exception:
            pid = None
        if pid == 0:
            channel.close()
            return _begun(supervisor, name, run, *descriptors)
        for each in descriptors:
            os.close(each)
        channel.send(json.dumps(pid).encode())


def _is_alone() -> bool:
    """Whether a fork takes along all that runs: a process with more threads than this one cannot be forked."""
    return sum(1 for _ in Path("/proc/self/task").iterdir()) == 1


def _forked(name: str) -> int:
    """The pid of a new process, in this one; 0 in the new one, which leads a session. Raises OSError.

    It is no child of this process but of the supervisor, which has said that it takes in orphans
    (PR_SET_CHILD_SUBREAPER): it is one once this returns.
    """
    reading, writing = os.pipe()
    between = os.fork()
    if between:
        os.close(writing)
        with os.fdopen(reading, "rb") as told:
            pid = told.read()
        os.waitpid(between, 0)
        if not pid:
            raise OSError("it could not be forked")
        return int(pid)
    try:
        if os.fork():
            os._exit(0)
        os.setsid()
        _show([*sys.orig_argv[:-2], name])
        os.write(writing, str(os.getpid()).encode())
    except BaseException:  # whatever it is: it must not go on as a second loader
        os._exit(1)
    os.close(reading)
    os.close(writing)
    return 0


def _begun(supervisor: int, name: str, run: Run, stdin: int, log: int) -> object:
    """Be the service, once it is told to begin; end at once if nobody tells it any more."""
    for descriptor, number in ((stdin, 0), (log, 1), (log, 2)):
        os.dup2(descriptor, number)
    os.close(stdin)
    os.close(log)
    sys.argv = [f"dpm-{name}"]
    if not sys.stdin.buffer.read():
        return 1
    die_with(supervisor)
    return run()


def _show(command: list[str]) -> None:
    """Have ``ps`` show this command: the beginning of it for which the own one has left room."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = (int(fields[number - 3]) for number in (48, 49))  # arg_start, arg_end: proc_pid_stat(5)
    shown = "\0".join(command).encode()[: end - start - 1]
    ctypes.memmove(start, shown.ljust(end - start, b"\0"), end - start)


def main() -> None:
    """Tie, then become what was asked for."""
    supervisor, *what = sys.argv[1:]
    if what[0] == "--together":
        sys.exit(together(int(supervisor), socket.socket(fileno=int(what[1]))))  # type: ignore[arg-type]
    sys.exit(alone(int(supervisor), what[0]))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
