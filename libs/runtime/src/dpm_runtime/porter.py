"""What a server puts up with from clients: how long they may take to say what they want, and how much of it.

A client that does not say what it wants, or does not take what it asked for, costs others nothing: its connection
is closed after a while, or at once where room is needed.
"""

import asyncio
import fcntl
import socket
import struct
import termios
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from dpm_runtime.meters import Kind, counter, observed
from dpm_runtime.outlet import OutletProtocol

PIPELINED = 64
"""Requests that may wait on one connection behind the one that is answered; apt sends ten."""

LEAST_BYTES = 16 * 1024
"""A client that takes fewer bytes in the time of a stall has stalled."""

SWEEP_SECONDS = 1.0
"""Between two looks at who is late."""

_BYTES_ACKED = 120
"""Where tcp_info (linux/tcp.h) has tcpi_bytes_acked, a u64."""


class Dropped(StrEnum):
    """Why a connection was closed before its client meant it to be."""

    LATE = "late"
    LARGE = "large"
    PIPELINED = "pipelined"
    STALLED = "stalled"
    CROWDED = "crowded"


_dropped = counter(
    "dpm.server.connections.dropped",
    "{connection}",
    "connections of clients that were closed because of what they did, or to make room",
    reason="`late`: its request's head took too long; `large`: that head was too large; `pipelined`: too many "
    "requests at once; `stalled`: it took no bytes; `crowded`: of too many it said nothing for longest",
)
_connections = observed("dpm.server.connections", Kind.GAUGE, "{connection}", "connections of clients")


@dataclass(frozen=True)
class Limits:
    """``connections`` at once; seconds and bytes for the head of a request; seconds in which a client must take
    some of what it is sent.
    """

    connections: int = 10_000
    head_seconds: float = 10.0
    head_bytes: int = 64 * 1024
    stall_seconds: float = 60.0


DEFAULTS = Limits()


class Porter:
    """All connections of a server. Made for one event loop; ``keep`` must run."""

    def __init__(self, limits: Limits = DEFAULTS, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._taken: dict[PorterProtocol, _Taken] = {}
        self._waiting: OrderedDict[PorterProtocol, float] = OrderedDict()

    def protocol(self, *arguments: Any, **named: Any) -> "PorterProtocol":
        """What uvicorn asks for, for each connection."""
        return PorterProtocol(self, *arguments, **named)

    async def keep(self) -> None:
        """Close who is late or stalls, for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def observed(self) -> AbstractContextManager[None]:
        """Let the metrics of this process say how many connections there are."""
        return _connections.by(lambda: [(len(self._taken), {})])

    def sweep(self) -> None:
        """Close who is late or stalls."""
        now = self._clock()
        late = now - self.limits.head_seconds
        while self._waiting and next(iter(self._waiting.values())) < late:
            self._waiting.popitem(last=False)[0].drop(Dropped.LATE)
        due = now - self.limits.stall_seconds
        for protocol, taken in list(self._taken.items()):
            if taken.looked_at <= due and self._stalls(protocol, taken):
                protocol.drop(Dropped.STALLED)

    def _stalls(self, protocol: "PorterProtocol", before: "_Taken") -> bool:
        taken = self._taken[protocol] = _Taken(self._clock(), protocol.owed, protocol.acknowledged)
        return bool(before.owed and taken.owed and taken.acknowledged - before.acknowledged < LEAST_BYTES)

    def entered(self, protocol: "PorterProtocol") -> None:
        """A connection is made. If there are too many, one goes: who says nothing for longest, else this one."""
        if len(self._taken) >= self.limits.connections:
            victim = self._waiting.popitem(last=False)[0] if self._waiting else protocol
            victim.drop(Dropped.CROWDED)
            if victim is protocol:
                return
        self._taken[protocol] = _Taken(self._clock(), 0, 0)
        self.waits(protocol)

    def waits(self, protocol: "PorterProtocol") -> None:
        """A request may come."""
        if protocol in self._taken:
            self._waiting[protocol] = self._clock()
            self._waiting.move_to_end(protocol)

    def heard(self, protocol: "PorterProtocol") -> None:
        """A request's head is here."""
        self._waiting.pop(protocol, None)

    def left(self, protocol: "PorterProtocol") -> None:
        """The connection is no more."""
        self._taken.pop(protocol, None)
        self._waiting.pop(protocol, None)


@dataclass(frozen=True)
class _Taken:
    """What a client had taken when it was looked at: bytes in all, and those that it still owed us to take."""

    looked_at: float
    owed: int
    acknowledged: int


class PorterProtocol(OutletProtocol):
    """A server's protocol, as long as its porter puts up with the client."""

    def __init__(self, porter: Porter, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._porter = porter
        self._in_head = True
        self._head_bytes = 0
        self._refusal: HTTPStatus | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._porter.entered(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._porter.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self._porter.limits.head_bytes:
                self.drop(Dropped.LARGE)

    def on_message_begin(self) -> None:
        """See HttpToolsProtocol."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """See HttpToolsProtocol. What is raised here ends the connection."""
        head = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if head > self._porter.limits.head_bytes:
            self._give_up(Dropped.LARGE)
        if len(self.pipeline) >= PIPELINED:
            self._give_up(Dropped.PIPELINED)
        self._in_head = False
        super().on_headers_complete()
        self._porter.heard(self)

    def _give_up(self, reason: Dropped) -> None:
        self.drop(reason)
        raise ConnectionAbortedError(reason)

    def on_response_complete(self) -> None:
        """See HttpToolsProtocol. Of a body that nobody wants the rest is not waited for."""
        follows = bool(self.pipeline)
        unread = self.cycle.more_body and not follows
        super().on_response_complete()
        if unread:
            self.transport.close()
        elif not follows:
            self._porter.waits(self)

    def send_400_response(self, msg: str) -> None:
        """See HttpToolsProtocol. Never into the middle of another answer."""
        if self.transport.is_closing():
            return
        if self._answering:
            self.transport.abort()
        else:
            super().send_400_response(msg)

    def drop(self, reason: Dropped) -> None:
        """Close the connection, saying why where a client may be listening for it."""
        _dropped.add(1, {"reason": reason.value})
        status = _SAID.get(reason)
        if self._answering or status is None:
            self.transport.abort()
            return
        if not self._in_head or (reason is Dropped.LATE and not self._head_bytes):
            self.transport.close()  # once the client has what it was sent
            return
        more = "Retry-After: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
        line = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        self.transport.write(f"{line}{more}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        self.transport.close()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def owed(self) -> int:
        """Bytes that the client has not taken yet, here and in the system."""
        unsent = 0
        if (connection := self._tcp()) is not None:
            packed = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
            unsent = struct.unpack("i", packed)[0]
        return unsent + self.transport.get_write_buffer_size()

    @property
    def acknowledged(self) -> int:
        """Bytes that the client has taken since the connection was made."""
        if (connection := self._tcp()) is None:
            return 0
        about = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED + 8)
        return int.from_bytes(about[_BYTES_ACKED : _BYTES_ACKED + 8], "little") if len(about) > _BYTES_ACKED else 0

    def _tcp(self) -> Any:
        """The socket, if it is one that can tell."""
        connection = self.transport.get_extra_info("socket")
        is_tcp = connection.family in (socket.AF_INET, socket.AF_INET6)
        return connection if is_tcp and connection.fileno() >= 0 else None


_SAID = {
    Dropped.LATE: HTTPStatus.REQUEST_TIMEOUT,
    Dropped.LARGE: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    Dropped.CROWDED: HTTPStatus.SERVICE_UNAVAILABLE,
}
