"""A way to nats-server on which acknowledgements can get lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

_ACKNOWLEDGEMENT = b'{"stream":"DPM"'


class LossyProxy:
    """Passes everything on, but swallows the next ``lose`` answers that acknowledge an append."""

    def __init__(self) -> None:
        self.url = ""
        self.lose = 0
        self.lost = 0

    @contextlib.asynccontextmanager
    async def to(self, port: int) -> AsyncIterator["LossyProxy"]:
        """Lead to nats-server on ``port`` for as long as the context lasts."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            up = asyncio.create_task(self._pass(reader, far_writer))
            try:
                await self._pass(far_reader, writer, lossy=True)
            finally:
                up.cancel()
                writer.close()
                far_writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, lossy: bool = False
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                # A small answer comes in one piece on loopback, so that whole messages are lost.
                if lossy and self.lose and _ACKNOWLEDGEMENT in data:
                    self.lose -= 1
                    self.lost += 1
                    continue
                target.write(data)
                await target.drain()
