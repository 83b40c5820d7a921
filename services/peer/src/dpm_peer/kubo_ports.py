"""Where the Kubos of a node listen, and what members are told: each network has a port that it keeps.

Others know it, and routers and firewalls may let it in: so it is chosen once and remembered.
"""

import errno
import json
import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dpm_core.errors import Invalid, Unavailable
from dpm_core.multiaddrs import address_of
from dpm_core.registry import from_json
from dpm_runtime.disk import replace_file

ANY = ("0.0.0.0", "::")  # noqa: S104 - members are elsewhere
"""All addresses of the machine."""

TRIES = 20
"""So many ports that are free on one address may be taken on another."""

_KEY = "tcp"
_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}
"""The machine has no such address, or no IPv6 at all."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Doorplate:
    """Multiaddresses: those that a Kubo listens on, and those that members are told instead of them, if any."""

    listen: tuple[str, ...]
    announce: tuple[str, ...] = ()


@dataclass(frozen=True)
class KuboPorts:
    """One for all networks of a node.

    They listen on these IP ``addresses``, on ports among ``allowed`` (empty: on any). Members are told to come to
    the hosts ``announced``, IP addresses or names, at the same port; without any, to the machine's own addresses.
    """

    addresses: tuple[str, ...] = ANY
    allowed: range = range(0)
    announced: tuple[str, ...] = ()
    _taken: dict[Path, int] = field(default_factory=dict, init=False)

    def of(self, path: Path) -> Doorplate:
        """Those of the network whose port is remembered at ``path``.

        It is another port from now on if that one is taken or not allowed any more. Raises Unavailable if there
        is none.
        """
        self._taken.pop(path, None)
        port = self._free(self._remembered(path))
        self._taken[path] = port
        try:
            body = json.dumps({_KEY: port}).encode()
            replace_file(path, body, temporary=path.with_suffix(".new"), safe=False)
        except OSError as error:
            log.warning("the next start is on another port", extra={"why": str(error)})
        listen = tuple(f"/ip{6 if ':' in each else 4}/{each}/tcp/{port}" for each in self.addresses)
        return Doorplate(listen, tuple(address_of(each, port) for each in self.announced))

    def _remembered(self, path: Path) -> int:
        try:
            port = from_json(path.read_bytes(), dict[str, int]).get(_KEY, 0)
        except (OSError, Invalid):
            return 0
        return port if 0 < port < 65536 else 0

    def _free(self, remembered: int) -> int:
        wanted: Iterable[int] = self.allowed or (0 for _ in range(TRIES))
        if remembered and (not self.allowed or remembered in self.allowed):
            wanted = (remembered, *wanted)
        others = set(self._taken.values())
        for each in wanted:
            if each not in others and (port := self._bound(each)) and port not in others:
                return port
        among = f" of {self.allowed[0]}-{self.allowed[-1]}" if self.allowed else ""
        raise Unavailable(f"no port{among} is free for a network on {', '.join(self.addresses)}")

    def _bound(self, port: int) -> int:
        """The port (a free one for 0) if it can be listened on at all addresses that there are, else 0."""
        found = False
        for address in self.addresses:
            try:
                port, found = _bind(address, port), True
            except OSError as error:
                if error.errno not in _NO_SUCH_ADDRESS:
                    return 0
        return port if found else 0


def _bind(address: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
        return int(bound.getsockname()[1])
