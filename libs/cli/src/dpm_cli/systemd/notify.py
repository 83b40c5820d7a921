"""What a process of type ``notify`` tells systemd.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Self

SOCKET = "NOTIFY_SOCKET"


class Notifier:
    """Tells the manager that started this process, if one asked for it; else nobody."""

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def of(cls, environment: MutableMapping[str, str]) -> Self:
        """The one that the environment names, which is taken out of it: no child is to speak for this process."""
        return cls(environment.pop(SOCKET, ""))

    def ready(self, status: str) -> None:
        """All is up; ``status`` is a line for ``systemctl status``."""
        self._tell(f"READY=1\nSTATUS={status}")

    def _tell(self, state: str) -> None:
        if not self._address:
            return
        # a manager that is gone is no reason to end
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect(self._address)
            out.sendall(state.encode())


def notifier() -> Notifier:
    """That of this process."""
    return Notifier.of(os.environ)
