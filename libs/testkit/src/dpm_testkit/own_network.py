"""A network of a test's own, which nobody else is in: a namespace of Linux (network_namespaces(7)). For root."""

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dpm_testkit.patience import until_now

_NEW_NETWORK = 0x40000000  # CLONE_NEWNET
_GET_FLAGS, _SET_FLAGS, _SET_ADDRESS = 0x8913, 0x8914, 0x8916  # SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR
_UP = 0x1
_TENTATIVE = 0x40  # IFA_F_TENTATIVE

_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network(*addresses: str) -> Iterator[None]:
    """This thread, and what it starts, alone with a loopback that has these IPv6 addresses, too.

    IPv4 has nothing but 127.0.0.1, as on a machine of an IPv6 network. Sockets that are there stay where they are.
    """
    namespace = new_network(*addresses)
    try:
        with inside(namespace):
            yield
    finally:
        os.close(namespace)


def new_network(*addresses: str) -> int:
    """A descriptor of a new namespace with a loopback, that has these IPv6 addresses, too; it lasts as long."""
    before = _current()
    try:
        _done(_libc.unshare(_NEW_NETWORK))
        try:
            _loopback(addresses)
            return _current()
        finally:
            _done(_libc.setns(before, _NEW_NETWORK))
    finally:
        os.close(before)


@contextmanager
def inside(namespace: int) -> Iterator[None]:
    """This thread, and what it starts, in a namespace. Sockets stay in the one that they were made in."""
    before = _current()
    try:
        _done(_libc.setns(namespace, _NEW_NETWORK))
        try:
            yield
        finally:
            _done(_libc.setns(before, _NEW_NETWORK))
    finally:
        os.close(before)


def _current() -> int:
    return os.open(Path("/proc/thread-self/ns/net"), os.O_RDONLY | os.O_CLOEXEC)


def _loopback(addresses: tuple[str, ...]) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16xh14x", fcntl.ioctl(asking, _GET_FLAGS, request))[0]
        fcntl.ioctl(asking, _SET_FLAGS, struct.pack("16sh14x", b"lo", flags | _UP))
        for address in addresses:
            packed = socket.inet_pton(socket.AF_INET6, address)
            fcntl.ioctl(asking, _SET_ADDRESS, struct.pack("16sIi", packed, 128, socket.if_nametoindex("lo")))
    until_now(lambda: not any(_tentative()))


def _tentative() -> Iterator[str]:
    """The addresses that the kernel does not let anybody use yet (RFC 4862, 5.4)."""
    for line in Path("/proc/thread-self/net/if_inet6").read_text().splitlines():
        address, _, _, _, flags, _ = line.split()
        if int(flags, 16) & _TENTATIVE:
            yield address


def _done(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
