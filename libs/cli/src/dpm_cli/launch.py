"""The first thing that a child of the supervisor runs: it ties the child's life to the supervisor's.

    launch.py <pid of the supervisor> service <name>
    launch.py <pid of the supervisor> exec <program> [argument …]

The kernel sends SIGTERM to the child when the supervisor goes, also if that is killed
(PR_SET_PDEATHSIG, prctl(2); kept over an exec). Run as a file by an isolated interpreter, so it imports little.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with(supervisor: int) -> None:
    """Get SIGTERM when the supervisor goes; end now if it has gone already. Elsewhere than on Linux: nothing."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != supervisor:
            sys.exit(1)


def run_service(name: str) -> object:
    """Run the service that is installed under ``name`` until it ends; what it returns is the exit status.

    It is loaded at once, and begins when stdin ends: loading takes most of a start, and may go on beside that of
    what it needs.
    """
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="dpm.services", name=name)
    sys.argv = [f"dpm-{name}"]
    run = entry.load()
    sys.stdin.buffer.read()
    return run()


def main() -> None:
    """Tie, then become what was asked for."""
    supervisor, kind, name, *arguments = sys.argv[1:]
    die_with(int(supervisor))
    if kind == "exec":
        os.execv(name, [name, *arguments])  # noqa: S606 - no shell is wanted
    sys.exit(run_service(name))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
