"""CONNECT (RFC 9110, 9.3.6): bytes between a client and a server that this node knows nothing of."""

import asyncio
import re
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from typing import TypeAlias

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from dpm_core.errors import Unavailable
from dpm_core.host_patterns import in_full, matches
from dpm_runtime.guard import GuardedResolver, Named, refuse_private
from dpm_runtime.host_names import TargetProtocol
from dpm_runtime.meters import counter

CLIENT = "dpm.client"
"""Where the scope of a CONNECT has its ClientEnd."""

PIECE = 64 * 1024
"""Bytes that are passed on at once."""

_TARGET = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")

_tunnelled = counter(
    "dpm.gateway.tunnelled",
    "By",
    "bytes that clients sent and got through tunnels, which this node knows nothing of",
    direction="`sent` by the client, `received` by it",
)

Ends: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ClientEnd:
    """The connection of a client that has asked for a tunnel, and what it sends into it: ``reader``."""

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        self.reader = asyncio.StreamReader(PIECE)
        self.reader.set_transport(transport)
        self.closed = asyncio.Event()
        self._transport = transport
        self._cycle = cycle

    def begin(self) -> None:
        """Tell the client that it has a tunnel."""
        self._cycle.response_started = True
        self._cycle.flow.resume_reading()
        self._transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def send(self, data: bytes) -> None:
        """Pass bytes on, once the client has taken most of those before."""
        self._transport.write(data)
        await self._cycle.flow.drain()

    async def end(self) -> None:
        """Close the connection when the client has what it was sent."""
        self._transport.close()
        await self.closed.wait()

    def abort(self) -> None:
        """Close it at once."""
        self._transport.abort()


class TunnelProtocol(TargetProtocol):
    """A server's protocol that passes on what follows a CONNECT, instead of reading it as requests."""

    _end: ClientEnd | None = None
    _heard = b""

    def on_headers_complete(self) -> None:
        """See TargetProtocol."""
        super().on_headers_complete()
        if self.scope["method"] == "CONNECT":
            self.cycle.keep_alive = False
            self._end = ClientEnd(self.transport, self.cycle)
            self.scope[CLIENT] = self._end  # type: ignore[literal-required]

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._end is not None:
            self._end.reader.feed_data(data)
            return
        self._heard = data
        super().data_received(data)
        self._heard = b""

    def _unsupported_upgrade_warning(self) -> None:
        """See HttpToolsProtocol: it has just stopped reading, and says where; of a CONNECT the rest is inside."""
        stopped = sys.exc_info()[1]
        if self._end is None:
            super()._unsupported_upgrade_warning()
        elif stopped is not None and (rest := self._heard[stopped.args[0] :]):
            self._end.reader.feed_data(rest)

    def eof_received(self) -> bool:  # type: ignore[override]
        """See asyncio.Protocol: a client that has said all may still get an answer."""
        if self._end is not None:
            self._end.reader.feed_eof()
        return self._end is not None

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        if self._end is not None:
            self._end.reader.feed_eof()
            self._end.closed.set()


class Tunnels:
    """Where clients may CONNECT to: to what one of ``patterns`` names, ``<host>:<port>``, with ``*`` and ``?``.

    At private addresses only what ``named`` has, and what a pattern names in full. ``connect_seconds`` is for the
    connection; one on which nothing moves for ``idle_seconds`` is closed.
    """

    def __init__(
        self, patterns: Collection[str], named: Collection[str], *, connect_seconds: float, idle_seconds: float
    ) -> None:
        plain = {each.rpartition(":")[0].strip("[]") for each in in_full(patterns)}
        self._patterns = tuple(patterns)
        self._named = Named({*named, *plain})
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds

    def __bool__(self) -> bool:
        """Whether there can be any."""
        return bool(self._patterns)

    def allow(self, target: str) -> bool:
        """Whether a client may have a tunnel to a target, ``<host>:<port>``."""
        return bool(_TARGET.fullmatch(target)) and matches(target.lower(), self._patterns)

    async def open(self, target: str) -> Ends:
        """A connection to a target that is allowed. Raises Unavailable."""
        found = _TARGET.fullmatch(target)
        assert found is not None
        host, port = found["host"].strip("[]"), int(found["port"])
        try:
            async with asyncio.timeout(self._connect_seconds):
                return await self._connected(host, port)
        except TimeoutError:
            raise Unavailable(f"{target} does not answer within {self._connect_seconds:g} s") from None
        except UnicodeError:
            raise Unavailable(f"{host[:80]} is no name", lasting=True) from None
        except OSError as error:
            if isinstance(error, Unavailable):
                raise
            raise Unavailable(f"no connection to {target}: {error.strerror or type(error).__name__}") from None

    async def _connected(self, host: str, port: int) -> Ends:
        if ":" in host or host.replace(".", "").isdigit():
            addresses = refuse_private(host, [host], self._named)
        else:
            resolver = GuardedResolver(self._named)
            try:
                addresses = [each["host"] for each in await resolver.resolve(host, port)]
            finally:
                await resolver.close()
        refused: OSError = OSError("it has no address")
        for address in addresses:
            try:
                reader, writer = await asyncio.open_connection(address, port, limit=PIECE)
            except OSError as error:
                refused = error
                continue
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return reader, writer
        raise refused

    async def relay(self, client: ClientEnd, ends: Ends) -> None:
        """Pass bytes on, both ways, until one side has gone or nothing moves; closes both."""
        reader, writer = ends
        loop = asyncio.get_running_loop()
        client.begin()

        async def up() -> None:
            while data := await client.reader.read(PIECE):
                moves.reschedule(loop.time() + self._idle_seconds)
                _tunnelled.add(len(data), {"direction": "sent"})
                writer.write(data)
                await writer.drain()
            writer.write_eof()

        async def down() -> None:
            while data := await reader.read(PIECE):
                moves.reschedule(loop.time() + self._idle_seconds)
                _tunnelled.add(len(data), {"direction": "received"})
                await client.send(data)

        sending = asyncio.ensure_future(up())
        ending = [asyncio.ensure_future(down()), asyncio.ensure_future(client.closed.wait())]
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._idle_seconds) as moves:
                    await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            client.abort()
            raise
        finally:
            for each in (sending, *ending):
                each.cancel()
            await asyncio.gather(sending, *ending, return_exceptions=True)
            writer.transport.abort()
        await client.end()
