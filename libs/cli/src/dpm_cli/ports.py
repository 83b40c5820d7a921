"""TCP ports: whether one is free, and who holds it if not."""

import errno
import socket
from collections.abc import Iterable

from dpm_core.errors import Unavailable

_NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL}
"""The machine has no such address, or no IPv6 at all: nothing to be taken there."""


def require_free(what: str, addresses: Iterable[str], port: int) -> None:
    """Raises Unavailable if ``port`` cannot be bound on one of the addresses, naming who holds it.

    ``what`` is the setting that gives the port. Port 0 is always free.
    """
    for address in addresses if port else ():
        try:
            _bind(address, port).close()
        except OSError as error:
            if error.errno in _NO_SUCH_ADDRESS:
                continue
            if error.errno == errno.EACCES:
                raise Unavailable(f"{what}: this user may not listen on port {port}") from None
            if error.errno != errno.EADDRINUSE:
                raise Unavailable(f"{what}: cannot listen on {address} port {port}: {error.strerror}") from None
            raise Unavailable(
                f"{what}: port {port} on {address} is taken by {holder_of(port)}",
                advice=f"end it, or set another port: DPM_{what.upper()}=<port>, 0 for any free one",
            ) from None


def choose_free(address: str = "127.0.0.1") -> int:
    """A port of ``address`` that was free a moment ago."""
    with _bind(address, 0) as bound:
        return int(bound.getsockname()[1])


def listeners(port: int) -> frozenset[int] | None:
    """The pids of those that listen on a TCP port; 0 for one of another user, None if this one may not look."""
    import psutil

    try:
        return frozenset(
            each.pid or 0
            for each in psutil.net_connections(kind="tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
        )
    except psutil.AccessDenied:
        return None


def holder_of(port: int) -> str:
    """The program and pid that listens on a TCP port, as well as this user may know."""
    return programs((listeners(port) or frozenset()) - {0}) or "an unknown program"


def programs(pids: Iterable[int]) -> str:
    """The names of programs by their pids, with these."""
    return ", ".join(map(_program, sorted(pids)))


def _program(pid: int) -> str:
    import psutil

    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"an unknown program (pid {pid})"


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound
