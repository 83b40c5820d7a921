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

SLOW_BYTES = 16 * 1024
"""In a full house those may have to go who take fewer bytes than so many a second."""

HUSH_SECONDS = 1.0
"""Who has said nothing for so long has to go before anybody who is being answered."""

BODY_FILES = 5
"""Open files of a connection on which an answer is sent: itself twice, a pipe's two ends, what is sent."""

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
    "requests at once; `stalled`: it took no bytes; `crowded`: of too many it said nothing for longest, or took "
    "its answer slowest",
)
_connections = observed("dpm.server.connections", Kind.GAUGE, "{connection}", "connections of clients")


@dataclass(frozen=True)
class Limits:
    """``connections`` at once, and files that they may have open; seconds and bytes for the head of a request;
    seconds in which a client must take some of what it is sent.
    """

    connections: int = 10_000
    files: int = 1_000_000
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
        self._seen: dict[PorterProtocol, _Taken] = {}
        self._slow: list[PorterProtocol] = []

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
            if taken.looked_at <= due:
                self._taken[protocol] = again = _Taken.by(protocol, now)
                if again.pace(taken, below=LEAST_BYTES / self.limits.stall_seconds) is not None:
                    protocol.drop(Dropped.STALLED)
        self._look_for_slow(now)

    def _look_for_slow(self, now: float) -> None:
        """While answers need much of the room: know who has to go if they need all of it."""
        before, self._seen, self._slow = self._seen, {}, []
        if 2 * self._answering < self.limits.connections and 2 * self._files < self.limits.files:
            return
        self._seen = {each: _Taken.by(each, now) for each in self._taken if each not in self._waiting}
        paces = {
            each: pace
            for each, seen in self._seen.items()
            if each in before and (pace := seen.pace(before[each], below=SLOW_BYTES)) is not None
        }
        self._slow = sorted(paces, key=paces.__getitem__, reverse=True)

    @property
    def _answering(self) -> int:
        return len(self._taken) - len(self._waiting)

    @property
    def _files(self) -> int:
        return len(self._waiting) + BODY_FILES * self._answering

    def _fits(self) -> bool:
        """Whether there is room for all, if need be once some have gone."""
        while self._files > self.limits.files or len(self._taken) > self.limits.connections:
            if (victim := self._first_to_go()) is None:
                return False
            self.left(victim)
            victim.drop(Dropped.CROWDED)
        return True

    def _first_to_go(self) -> "PorterProtocol | None":
        """Who says nothing for longest, or takes its answer slowest; None if all are as they should be."""
        while self._slow and (self._slow[-1] not in self._taken or self._slow[-1] in self._waiting):
            self._slow.pop()
        since = next(iter(self._waiting.values()), None)
        if since is not None and (not self._slow or self._clock() - since >= HUSH_SECONDS):
            return self._waiting.popitem(last=False)[0]
        return self._slow.pop() if self._slow else None

    def entered(self, protocol: "PorterProtocol") -> None:
        """A connection is made. In a full house somebody goes; this one, if all others are as they should be."""
        self._taken[protocol] = _Taken.by(protocol, self._clock())
        self.waits(protocol)
        self._fits()

    def waits(self, protocol: "PorterProtocol") -> None:
        """A request may come."""
        if protocol in self._taken:
            self._waiting[protocol] = self._clock()
            self._waiting.move_to_end(protocol)

    def heard(self, protocol: "PorterProtocol") -> bool:
        """A request's head is here; whether it may be answered."""
        return self._waiting.pop(protocol, None) is None or self._fits()

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

    @classmethod
    def by(cls, protocol: "PorterProtocol", now: float) -> "_Taken":
        return cls(now, protocol.owed, protocol.acknowledged)

    def pace(self, before: "_Taken", *, below: float) -> float | None:
        """Bytes a second that it took since ``before``; None if these are enough, or it had taken all it got."""
        took, seconds = self.acknowledged - before.acknowledged, self.looked_at - before.looked_at
        return took / seconds if before.owed and self.owed and took < below * seconds else None


class PorterProtocol(OutletProtocol):
    """A server's protocol, as long as its porter puts up with the client."""

    def __init__(self, porter: Porter, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._porter = porter
        self._in_head = True
        self._head_bytes = 0

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
        if not self._porter.heard(self):
            self._give_up(Dropped.CROWDED)
        self._in_head = False
        super().on_headers_complete()

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
        if self._in_head and not (reason is Dropped.LATE and not self._head_bytes):
            more = "Retry-After: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
            line = f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            self.transport.write(f"{line}{more}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        if reason is Dropped.CROWDED and self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()  # once the client has what it was sent

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
