"""The lock of a home: one node at a time, however it was started.

It goes with the process that holds it, also when that is killed, and is seen from other containers.
"""

import json
import os
import sys
from types import TracebackType
from typing import Self

from dpm_cli.outcome import AlreadyRunning
from dpm_core.errors import Conflict, Invalid
from dpm_runtime.bus_grants import GATEWAYS
from dpm_runtime.ecosystem_settings import declared
from dpm_runtime.home import Home
from dpm_runtime.ofd_lock import OfdLock

SUN_PATH = 107 if sys.platform == "linux" else 103
"""The longest path of a unix socket in bytes (unix(7))."""


class NodeLock:
    """Held from ``take`` or ``with`` until ``release`` or the end of the process."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._path = home.run / "node.lock"
        self._lock: OfdLock | None = None

    def take(self) -> None:
        """Take the lock and note this process in it. Raises AlreadyRunning, naming the holder."""
        try:
            self._lock = OfdLock.acquire(self._path)
        except Conflict:
            raise AlreadyRunning(self._home.root, self.holder()) from None
        self._path.write_text(json.dumps({"pid": os.getpid()}))  # the same file: a lock sits on it

    def release(self) -> None:
        """Let go of it; may be called twice."""
        if self._lock is not None:
            os.truncate(self._path, 0)
            self._lock.close()
            self._lock = None

    def free(self) -> bool:
        """Whether nobody holds it at this moment."""
        return not OfdLock.held(self._path)

    def holder(self) -> int | None:
        """The pid that the holder noted, None if it has not (yet)."""
        try:
            noted = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return None
        return noted["pid"] if isinstance(noted, dict) and isinstance(noted.get("pid"), int) else None

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.release()


def require_short(home: Home) -> None:
    """Raises Invalid if the home's path is too long for the unix sockets below it."""
    names = (f"{GATEWAYS}{ecosystem}" for ecosystem in declared())
    longest = max(len(os.fsencode(home.socket(name, 99))) for name in names) + len("~")  # bound so first
    if longest > SUN_PATH:
        most = SUN_PATH - longest + len(os.fsencode(home.root))
        raise Invalid(
            f"home: {home.root} is too long for the unix sockets below it; at most {most} bytes are allowed"
        )
