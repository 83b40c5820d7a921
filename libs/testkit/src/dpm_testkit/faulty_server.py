"""A server on a raw socket, which sends any bytes at any time: all that an upstream can do wrong."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Exchange:
    """One request, and what is sent for it; header names are in lower case.

    ``number`` counts the requests for the same target, from 1.
    """

    method: str
    target: str
    headers: dict[str, str]
    number: int
    writer: asyncio.StreamWriter
    server: "FaultyServer"
    sent: int = 0
    over: bool = False
    """Whether nothing more can come on this connection."""

    @property
    def start(self) -> int:
        """The first byte asked for, 0 without a Range."""
        return int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])

    async def send(self, data: bytes) -> None:
        """Send these bytes, and wait until the system has taken them."""
        hold = self.server.hold_at
        now = len(data) if hold is None or self.sent > hold else hold - self.sent
        self.sent += len(data)
        self.writer.write(data[:now])
        await self.writer.drain()
        if now < len(data):
            await self.server.go_on.wait()
            self.writer.write(data[now:])
            await self.writer.drain()

    async def head(self, status: str, *fields: str) -> None:
        """Send a status line and fields, as they are, and no more."""
        await self.send("\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1"))

    async def answer(self, status: str, body: bytes = b"", *fields: str) -> None:
        """Send a whole answer, with the length that it has."""
        await self.head(status, f"Content-Length: {len(body)}", *fields)
        await self.send(body)

    async def chunk(self, data: bytes) -> None:
        """Send a chunk of a chunked body; an empty one ends it."""
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def hang_up(self) -> None:
        """Close the connection in order."""
        self.over = True

    def reset(self) -> None:
        """Break the connection: what was sent and not yet read is lost, too."""
        self.over = True
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Act = Callable[[Exchange], Awaitable[None]]
"""What a server does with a request; to wait for ever is its right."""


@dataclass
class FaultyServer:
    """Listens on a loopback port of its own, and does with each request what ``act`` does.

    ``asked`` are all requests so far; with ``tls`` it speaks TLS. What an exchange sends beyond ``hold_at`` bytes
    waits for ``go_on``.
    """

    act: Act
    tls: ssl.SSLContext | None = None
    hold_at: int | None = None
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[Exchange] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        """Its address, with a closing slash."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FaultyServer"]:
        """Serve for as long as the context lasts; then drop whatever is under way."""
        busy: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            busy.add(task)
            task.add_done_callback(busy.discard)
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", self.port, ssl=self.tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request, *lines = head.rstrip("\r\n").split("\r\n")
            method, target, _ = request.split(" ", 2)
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            number = 1 + sum(each.target == target for each in self.asked)
            exchange = Exchange(method, target, fields, number, writer, self)
            self.asked.append(exchange)
            await self.act(exchange)
            if exchange.over:
                return
