"""The first thing that a service of the supervisor runs: it ties the service's life to the supervisor's.

launch.py <pid of the supervisor> <name of the service>
"""

import gc
import sys

from dpm_runtime.tied import die_with


def run_service(name: str) -> object:
    """Run the service that is installed under ``name`` until it ends; what it returns is the exit status.

    It is loaded at once, and begins when stdin ends: loading takes most of a start, and may go on beside that of
    what it needs.
    """
    from importlib.metadata import entry_points

    (entry,) = entry_points(group="dpm.services", name=name)
    sys.argv = [f"dpm-{name}"]
    gc.disable()  # of what is loaded nothing goes: to look for it takes a seventh of a start
    run = entry.load()
    gc.freeze()
    gc.enable()
    sys.stdin.buffer.read()
    return run()


def main() -> None:
    """Tie, then become what was asked for."""
    supervisor, name = sys.argv[1:]
    die_with(int(supervisor))
    sys.exit(run_service(name))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
