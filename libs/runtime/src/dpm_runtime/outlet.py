"""A connection's way out for bytes of a file, which never enter this process's memory."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from dpm_core.errors import Unavailable
from dpm_runtime.disk import Descriptor
from dpm_runtime.joining import Joining
from dpm_runtime.mount_reads import MountAway
from dpm_runtime.pouring import Pouring
from dpm_runtime.tunnel import TunnelProtocol

EXTENSION = "dpm.outlet"
"""Where a request's scope has its Outlet, among the extensions (ASGI); absent over TLS."""

Run: TypeAlias = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs work in a thread; may give it up, and raises MountAway then."""

PARTING_SECONDS = 1.0
"""A thread that is given up while it may be sending has so long to say what it has sent."""

LOOKS = 100
"""How often it is asked in that time."""

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

    async def pour(
        self, file: Descriptor, offset: int, size: int, run: Run, crowded: Callable[[], bool] = lambda: True
    ) -> int:
        """Send ``size`` bytes of ``file`` from ``offset`` on; returns how many went, behind all that went before.

        Fewer where the file ends or cannot be read, where ``run`` gives up, and where the body's length was not
        told: the rest can be sent by other means then. ``crowded``: whether others wait for the thread. Raises
        ConnectionError if the client has gone, or if nobody knows how much it has been sent.
        """
        if self._cycle.chunked_encoding is not False or self._cycle.disconnected:
            return 0
        transport = self._cycle.transport
        await self._flushed()
        if transport.is_closing():
            return 0
        try:
            # a number of its own: the transport may close its socket while a thread is still about to write
            pouring = Pouring(os.dup(self.connection.fileno()), offset, size, crowded)
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
            pouring.abandon()
            if not await _parted(pouring):
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)  # the thread's number for it stays open
                transport.abort()
                await asyncio.sleep(0)
                raise ConnectionAbortedError("nobody knows how much of the body was sent") from error
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


async def _parted(pouring: Pouring) -> bool:
    """Whether what was sent is known, by a thread that has been given up; it is waited for a little."""
    for _ in range(LOOKS):
        if not pouring.unsure:
            return True
        await asyncio.sleep(PARTING_SECONDS / LOOKS)
    return False


async def _writable(connection: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(connection, _tell, ready)
    try:
        await ready
    finally:
        loop.remove_writer(connection)


def _tell(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
