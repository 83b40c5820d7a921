"""The way out, closed: a proxy that lets nobody through, and notes who wanted to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Outside:
    """A proxy at ``url``. ``asked`` are the targets that were wanted: ``host:port``, or a URL by plain HTTP.

    ``wanted`` is set once there is one.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.wanted = asyncio.Event()
        self.url = ""

    @property
    def environment(self) -> dict[str, str]:
        """What leads a program here with all that is not on this machine itself."""
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), self.url)
        both = {**proxies, "NO_PROXY": "127.0.0.1,localhost"}
        return both | {name.lower(): value for name, value in both.items()}

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Outside"]:
        """Listen on a port of this machine for as long as the context lasts."""
        server = await asyncio.start_server(self._refuse, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            yield self

    def forget(self) -> None:
        """Nobody has asked yet."""
        self.asked.clear()
        self.wanted.clear()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        words = (await reader.readline()).decode("latin-1").split()
        self.asked += words[1:2]
        self.wanted.set()
        # 403, because clients ask again for what a proxy could not reach
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()
