"""Several hosts on this machine: namespaces of Linux (network_namespaces(7)) on one switch. For root.

Each has a loopback, an address and ports of its own, and shares nothing but the files. The switch lies in a
namespace, too: no firewall of this machine stands between them. They are gone with the process that made them, and
with what it started on them.
"""

import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from dpm_testkit.own_network import inside, new_network

_CARD, _SWITCH = "eth0", "switch"


@dataclass(frozen=True)
class Host:
    """One of them: its ``address`` (IPv4), and a descriptor of its ``namespace``."""

    name: str
    address: str
    namespace: int
    _switch: int

    def inside(self) -> AbstractContextManager[None]:
        """This thread, and what it starts, on this host, while nothing else goes on beside.

        Sockets that are there stay where they are.
        """
        return inside(self.namespace)

    def command(self, *arguments: str | Path) -> list[str]:
        """A command line that runs another one on this host."""
        return ["nsenter", f"--net={_path(self.namespace)}", "--", *map(str, arguments)]

    def program(self, path: Path | str, folder: Path) -> Path:
        """A program that runs the one at ``path`` on this host, made in ``folder``."""
        made = folder / f"{Path(path).name}-on-{self.name}"
        made.write_text(f'#!/bin/sh\nexec {shlex.join(self.command(path))} "$@"\n')
        made.chmod(0o755)
        return made

    def connector(self) -> aiohttp.TCPConnector:
        """For a client session of this host, wherever this thread is."""

        def opened(place: Any) -> socket.socket:
            family, kind, protocol, *_ = place
            with self.inside():
                return socket.socket(family, kind, protocol)

        return aiohttp.TCPConnector(limit=0, socket_factory=opened)

    def listening(self, port: int = 0) -> socket.socket:
        """A socket that listens on this host's address."""
        with self.inside():
            return socket.create_server((self.address, port), backlog=1024)

    def cut(self) -> None:
        """Pull its plug: nothing that is sent arrives, and nobody is told."""
        with inside(self._switch):
            _run("ip", "link", "set", self._port, "nomaster")

    def plug(self) -> None:
        """Put it in again."""
        with inside(self._switch):
            _run("ip", "link", "set", self._port, "master", _SWITCH)

    def shun(self, other: "Host") -> None:
        """Not reach another host any more, and be told so at once."""
        self._ip("route", "add", "unreachable", f"{other.address}/32")

    def find(self, other: "Host") -> None:
        """Reach it again."""
        self._ip("route", "del", "unreachable", f"{other.address}/32")

    def limit(self, bytes_a_second: int | None) -> None:
        """What reaches it, and what it sends, at most; None: as much as there is."""
        for namespace, device in ((self._switch, self._port), (self.namespace, _CARD)):
            with inside(namespace):
                subprocess.run(["tc", "qdisc", "del", "dev", device, "root"], stderr=subprocess.DEVNULL)
                if bytes_a_second is not None:
                    rate = ("rate", f"{bytes_a_second * 8}bit", "burst", "256kb", "latency", "50ms")
                    _run("tc", "qdisc", "add", "dev", device, "root", "tbf", *rate)

    def processes(self) -> list[psutil.Process]:
        """All that run on it now."""
        inode = os.fstat(self.namespace).st_ino
        return [each for each in psutil.process_iter() if _network_of(each) == inode]

    @property
    def sent(self) -> int:
        """Bytes that left it for other hosts, headers and all."""
        with self.inside():  # what stands below /sys is that of who mounted it
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        return next(int(line.split()[9]) for line in lines if line.strip().startswith(f"{_CARD}:"))

    @property
    def _port(self) -> str:
        return f"to-{self.address.rpartition('.')[2]}"

    def _ip(self, *arguments: str) -> None:
        with self.inside():
            _run("ip", *arguments)


@contextmanager
def hosts(*names: str) -> Iterator[dict[str, Host]]:
    """Hosts of these names, which reach each other and nothing else, and are gone at the end."""
    with ExitStack() as resources:

        def network() -> int:
            made = new_network()
            resources.callback(os.close, made)
            return made

        switch = network()
        with inside(switch):
            _run("ip", "link", "add", _SWITCH, "type", "bridge")
            _run("ip", "link", "set", _SWITCH, "up")
        made = {
            name: Host(name, f"10.87.0.{number}", network(), switch) for number, name in enumerate(names, start=1)
        }
        for host in made.values():
            with inside(switch):
                peer = ("peer", "name", _CARD, "netns", _path(host.namespace))
                _run("ip", "link", "add", host._port, "type", "veth", *peer)
                _run("ip", "link", "set", host._port, "master", _SWITCH, "up")
            with host.inside():
                _run("ip", "address", "add", f"{host.address}/24", "dev", _CARD)
                _run("ip", "link", "set", _CARD, "up")
        yield made


def _path(namespace: int) -> str:
    return f"/proc/{os.getpid()}/fd/{namespace}"


def _network_of(process: psutil.Process) -> int | None:
    with suppress(OSError):
        return Path(f"/proc/{process.pid}/ns/net").stat().st_ino
    return None


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OSError(f"{shlex.join(command)}: {done.stderr.strip()}")
