"""A line to upstream that carries so many bytes a second and no more, for all its connections together.

A program: ``link.py PORT BYTES_A_SECOND`` relays to PORT of this machine, and prints the port that it listens on.
In a process of its own, so that it goes on while others are busy.
"""

import asyncio
import sys

PIECE = 32 * 1024
"""Bytes that go at a time: small, so that those of one connection do not wait long for those of another."""

LATENESS = 0.005
"""Seconds by which a sleep may be too long: so much is made up for, and a pause gives no more than that."""


class Link:
    """Relays connections; what comes back from upstream takes its time."""

    def __init__(self, port: int, rate: float) -> None:
        self._port = port
        self._rate = rate
        self._free = 0.0

    async def relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        there = asyncio.create_task(self._carry(reader, far_writer, limited=False))
        try:
            await self._carry(far_reader, writer, limited=True)
        finally:
            there.cancel()
            far_writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limited: bool) -> None:
        try:
            while data := await reader.read(PIECE):
                if limited:
                    await self._turn(len(data))
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _turn(self, size: int) -> None:
        now = asyncio.get_running_loop().time()
        self._free = max(self._free, now - LATENESS) + size / self._rate
        if self._free > now:
            await asyncio.sleep(self._free - now)


async def main(port: int, rate: float) -> None:
    """Relay until ended."""
    server = await asyncio.start_server(Link(port, rate).relay, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
