"""How the command ends: its exit codes, and the errors that lead to them."""

from enum import IntEnum

from dpm_core.errors import DpmError, Invalid


class ExitCode(IntEnum):
    """What a caller can tell from the exit code."""

    OK = 0
    FAILED = 1
    USAGE = 2
    STATE = 3
    """The node, or the service, is already in the state asked for, or must first be in another."""


class WrongState(DpmError):
    """A node that should run does not, one that should not does, or a service likewise."""


class AlreadyRunning(WrongState):
    """A node has this home already. ``pid`` is its process, None if that could not be learnt; ``how`` it runs if
    not as one process.
    """

    def __init__(self, home: object, pid: int | None, *, how: str = "") -> None:
        super().__init__(f"a node already runs on {home}, " + (how or f"pid {pid or 'unknown'}"))
        self.pid = pid


class NotRunning(WrongState):
    """No node runs on this home."""

    def __init__(self, home: object) -> None:
        super().__init__(f"no node runs on {home}. `dpm up` starts one")


def exit_code_of(error: DpmError) -> ExitCode:
    """The exit code that tells of an error."""
    match error:
        case WrongState():
            return ExitCode.STATE
        case Invalid():
            return ExitCode.USAGE
        case _:
            return ExitCode.FAILED
