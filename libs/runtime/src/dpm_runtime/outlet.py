"""A connection's way out for bytes of a file, which never enter this process's memory (splice(2)).

Bytes go from the file into a pipe, and from the pipe into the socket. Only the first step can hang, behind a
mount, and nothing of it has been sent then: whoever gives it up goes on another way, without a byte twice.
"""

import asyncio
import contextlib
import logging
import os
import select
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from dpm_core.errors import Unavailable
from dpm_runtime.disk import Descriptor
from dpm_runtime.joining import Joining
from dpm_runtime.mount_reads import MountAway
from dpm_runtime.tunnel import TunnelProtocol

EXTENSION = "dpm.outlet"
"""Where a request's scope has its Outlet, among the extensions (ASGI); absent over TLS."""

PIPE = 64 * 1024
"""Bytes in the pipe: what the system gives by itself. In a larger one they only wait for longer."""

TURN = 16 * 1024 * 1024
"""Bytes after which a thread is free for another connection."""

LINGER_MILLISECONDS = 2
"""How long a thread waits for a client to take more. A quick one needs less; a slow one is to hold no thread."""

Run: TypeAlias = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs work in a thread; may give it up, and raises MountAway then."""

log = logging.getLogger(__name__)


class Outlet:
    """The way out for one answer; ``sent`` counts its bytes."""

    def __init__(self, cycle: RequestResponseCycle, watches: set[Callable[[], None]]) -> None:
        self._cycle = cycle
        self._watches = watches
        self.sent = 0

    @property
    def lost(self) -> bool:
        """Whether the connection is no more."""
        return bool(self._cycle.disconnected)

    @contextlib.contextmanager
    def watched(self, lost: Callable[[], None]) -> Iterator[None]:
        """Have ``lost`` called by the event loop if the connection is lost while the context lasts."""
        self._watches.add(lost)
        try:
            yield
        finally:
            self._watches.discard(lost)

    @property
    def connection(self) -> Any:
        """The socket of the connection, to look at."""
        return self._cycle.transport.get_extra_info("socket")

    async def pour(self, file: Descriptor, offset: int, size: int, run: Run) -> int:
        """Send ``size`` bytes of ``file`` from ``offset`` on; returns how many went, behind all that went before.

        Fewer where the file ends or cannot be read, where ``run`` gives up, and where the body's length was not
        told: the rest can be sent by other means then. Raises ConnectionError if the client has gone.
        """
        if self._cycle.chunked_encoding is not False or self._cycle.disconnected:
            return 0
        transport = self._cycle.transport
        await self._flushed()
        if transport.is_closing():
            return 0
        try:
            # a number of its own: the transport may close its socket while a thread is still about to write
            pouring = _Pouring(os.dup(self.connection.fileno()), offset, size)
        except OSError as error:  # no files are left: by reading it takes fewer
            log.debug("a body goes by reading", extra={"why": repr(error)})
            return 0
        try:
            while pouring.left and not pouring.ended:
                await run(lambda: pouring.turn(file))
                if pouring.stuck:
                    await _writable(pouring.socket)
        except ConnectionError:
            transport.abort()
            await asyncio.sleep(0)  # the server is to know it before it looks whether the answer is complete
            raise
        except (OSError, Unavailable, MountAway) as error:
            log.debug("a body goes on by reading", extra={"why": repr(error)})
        finally:
            pouring.abandon()
            self._cycle.expected_content_length -= pouring.sent
            self.sent += pouring.sent
        return pouring.sent

    async def _flushed(self) -> None:
        """Wait until what was written has left the transport."""
        transport: Any = self._cycle.transport
        if transport.get_write_buffer_size() == 0:
            return
        low, high = transport.get_write_buffer_limits()
        transport.set_write_buffer_limits(0, 0)
        try:
            await self._cycle.flow.drain()
        finally:
            transport.set_write_buffer_limits(high, low)


class OutletProtocol(TunnelProtocol):
    """A server's protocol with an Outlet in the scope of each request."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._watches: set[Callable[[], None]] = set()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        for lost in tuple(self._watches):
            lost()

    def on_headers_complete(self) -> None:
        """See TunnelProtocol."""
        super().on_headers_complete()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.scope is not self.scope:
            return
        if self.scope["method"] != "HEAD":
            cycle.transport = Joining(self.transport)  # type: ignore[assignment]
        if self.scheme == "http":
            self.scope["extensions"] = {EXTENSION: Outlet(cycle, self._watches)}  # type: ignore[dict-item]


class _Pouring:
    """One body under way. ``turn`` runs in a thread; the rest belongs to the event loop."""

    def __init__(self, socket: int, offset: int, size: int) -> None:
        self.socket = socket
        self.sent = 0
        self.ended = False
        """The file has no more bytes."""
        self.stuck = False
        """The client has to take some first."""
        self._offset = offset
        self._size = size
        self._piped = 0
        self._abandoned = threading.Event()
        self._busy = False
        self._guard = threading.Lock()
        try:
            self._from, self._into = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        except BaseException:
            os.close(socket)
            raise

    @property
    def left(self) -> int:
        """Bytes still to be sent."""
        return self._size - self.sent

    def turn(self, file: Descriptor) -> None:
        """Send until the client takes no more, for a bounded number of bytes. Raises OSError, Unavailable."""
        with self._guard:
            if self._abandoned.is_set():
                return
            self._busy = True
        try:
            fd = file.take()
            try:
                self._turn(fd)
            finally:
                file.give_back()
        finally:
            with self._guard:
                self._busy = False
                if self._abandoned.is_set():
                    self._close()

    def _turn(self, fd: int) -> None:
        poll = select.poll()
        poll.register(self.socket, select.POLLOUT)
        self.stuck = False
        until = self.sent + TURN
        while self.left and self.sent < until:
            if not self._piped:
                start = self._offset + self.sent
                self._piped = os.splice(fd, self._into, min(self.left, PIPE), offset_src=start)
                if not self._piped:
                    self.ended = True
                    return
            moved = self._drain()
            if not moved and not poll.poll(LINGER_MILLISECONDS):
                self.stuck = True
                return

    def _drain(self) -> int:
        more = os.SPLICE_F_MORE if self.left > self._piped else 0
        with self._guard:
            if self._abandoned.is_set():
                return 0
            try:
                moved = os.splice(self._from, self.socket, self._piped, flags=os.SPLICE_F_NONBLOCK | more)
            except BlockingIOError:
                return 0
            self.sent += moved
        self._piped -= moved
        return moved

    def abandon(self) -> None:
        """Nothing is sent from now on."""
        with self._guard:
            self._abandoned.set()
            if not self._busy:
                self._close()

    def _close(self) -> None:
        for fd in (self._from, self._into, self.socket):
            os.close(fd)


async def _writable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(socket, _tell, ready)
    try:
        await ready
    finally:
        loop.remove_writer(socket)


def _tell(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
