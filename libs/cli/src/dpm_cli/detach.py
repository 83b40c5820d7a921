"""``dpm up --detach``: the node as a process of its own, which tells its starter once how the start went."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from dpm_cli.outcome import ExitCode, WrongState, exit_code_of
from dpm_cli.processes import last_lines, open_log
from dpm_cli.status import Summary
from dpm_core.errors import DpmError, Invalid, Unavailable
from dpm_runtime.home import Home


class Messenger:
    """The node's end of the pipe to its starter: one message, or none."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_inheritable(fd, False)

    def ready(self, summary: Summary) -> None:
        """The node serves."""
        self._send({"ready": json.loads(summary.to_json())})

    def failed(self, error: DpmError) -> None:
        """The node has not started."""
        self._send({"failed": str(error), "advice": getattr(error, "advice", ""), "code": exit_code_of(error)})

    def _send(self, message: dict[str, Any]) -> None:
        if self._fd >= 0:
            with os.fdopen(self._fd, "w") as pipe:
                pipe.write(json.dumps(message))
            self._fd = -1


def start(home: Home) -> Summary:
    """Start a node in a session of its own, its words in ``logs/node.log``; returns once it serves.

    Raises what kept it from starting: WrongState, Invalid, or Unavailable.
    """
    log = home.logs / "node.log"
    read, write = os.pipe()
    with open(read) as answer, open_log(log) as output:  # noqa: PTH123 - a descriptor
        try:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "dpm_cli", "up", "--tell", str(write)],
                cwd=home.root,
                env={**os.environ, "DPM_HOME": str(home.root)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[write],
                start_new_session=True,
            )
        finally:
            os.close(write)
        told = answer.read()
    if not told:
        child.wait()
        raise Unavailable(f"the node ended with status {child.returncode}\n{last_lines(log)}", advice=f"see {log}")
    child.returncode = 0  # it lives on, and is nobody's to wait for
    return _outcome(json.loads(told))


def _outcome(message: dict[str, Any]) -> Summary:
    if "ready" in message:
        return Summary(**message["ready"])
    kinds: dict[int, Callable[[str], DpmError]] = {ExitCode.USAGE: Invalid, ExitCode.STATE: WrongState}
    what = str(message["failed"])
    kind = kinds.get(int(message["code"]))
    raise kind(what) if kind else Unavailable(what, advice=str(message["advice"]))
