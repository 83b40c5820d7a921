"""A child process whose life is tied to its parent's.

    tied.py <pid of the parent> <program> [argument …]

The kernel sends SIGTERM to the child when the parent goes, also if that is killed
(PR_SET_PDEATHSIG, prctl(2); kept over an exec). Run as a file by an isolated interpreter, so it imports little.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Get SIGTERM when the parent goes; end now if it has gone already. Elsewhere than on Linux: nothing."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(1)


def tied_command(program: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a program, its life tied to this process."""
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), program, *arguments)


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - no shell is wanted
