"""Several hosts on this machine: namespaces of Linux (network_namespaces(7)) on one switch. For root.

Each has a loopback, an address and ports of its own, and shares nothing but the files. The switch lies in a
namespace, too: no firewall of this machine stands between them.
"""

import ctypes
import itertools
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_SWITCH = "switch"

_libc = ctypes.CDLL(None, use_errno=True)
_made = itertools.count(1)


@dataclass(frozen=True)
class Host:
    """One of them: its ``address`` (IPv4) and the ``namespace`` that :manpage:`ip-netns(8)` knows it by."""

    name: str
    address: str
    namespace: str
    _switch: str

    def command(self, *arguments: str | Path) -> list[str]:
        """A command line that runs another one on this host."""
        return ["nsenter", f"--net={_path(self.namespace)}", "--", *map(str, arguments)]

    def program(self, path: Path | str, folder: Path) -> Path:
        """A program that runs the one at ``path`` on this host, made in ``folder``."""
        made = folder / f"{Path(path).name}-on-{self.name}"
        made.write_text(f'#!/bin/sh\nexec {shlex.join(self.command(path))} "$@"\n')
        made.chmod(0o755)
        return made

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and what it starts, on this host. Sockets that are there stay where they are."""
        with Path("/proc/thread-self/ns/net").open("rb") as before, _path(self.namespace).open("rb") as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def cut(self) -> None:
        """Pull its plug: nothing that is sent arrives, and nobody is told."""
        _ip("-n", self._switch, "link", "set", self._port, "down")

    def plug(self) -> None:
        """Put it in again."""
        _ip("-n", self._switch, "link", "set", self._port, "up")

    def limit(self, bytes_a_second: int | None) -> None:
        """What reaches it, and what it sends, at most; None: as much as there is."""
        for namespace, device in ((self._switch, self._port), (self.namespace, "eth0")):
            subprocess.run(
                ["tc", "-n", namespace, "qdisc", "del", "dev", device, "root"], stderr=subprocess.DEVNULL
            )
            if bytes_a_second is not None:
                rate = ["rate", f"{bytes_a_second * 8}bit", "burst", "256kb", "latency", "50ms"]
                _run("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", *rate)

    @property
    def _port(self) -> str:
        return f"to-{self.address.rpartition('.')[2]}"


@contextmanager
def hosts(*names: str) -> Iterator[dict[str, Host]]:
    """Hosts of these names, which reach each other and nothing else, and are gone at the end."""
    mark = f"dpm-{os.getpid()}-{next(_made)}"
    switch = f"{mark}-{_SWITCH}"
    made = {
        name: Host(name, f"10.87.0.{number}", f"{mark}-{name}", switch)
        for number, name in enumerate(names, start=1)
    }
    with ExitStack() as resources:
        for namespace in (switch, *(host.namespace for host in made.values())):
            _ip("netns", "add", namespace)
            resources.callback(_ip, "netns", "delete", namespace)
        _ip("-n", switch, "link", "add", _SWITCH, "type", "bridge")
        _ip("-n", switch, "link", "set", _SWITCH, "up")
        for host in made.values():
            here, there = ("-n", switch), ("-n", host.namespace)
            _ip(*here, "link", "add", host._port, "type", "veth", "peer", "eth0", "netns", host.namespace)
            _ip(*here, "link", "set", host._port, "master", _SWITCH, "up")
            _ip(*there, "link", "set", "lo", "up")
            _ip(*there, "address", "add", f"{host.address}/24", "dev", "eth0")
            _ip(*there, "link", "set", "eth0", "up")
        yield made


def _path(namespace: str) -> Path:
    return Path("/run/netns") / namespace


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
