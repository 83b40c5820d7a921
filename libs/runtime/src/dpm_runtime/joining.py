"""The head of an answer and what follows it at once, in one write: one packet, and one wake of the client.

ASGI has them apart, and a server writes what it is told. Half of what a small answer costs is in the second write.
"""

import asyncio
from typing import Any


class Joining:
    """A connection's transport as one answer sees it.

    What is written first waits for what is written next; if nothing is before others have their turn, it goes by
    itself. Whatever else is asked of the transport, it has been given all by then.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._first = True
        self._waiting = b""

    def write(self, data: bytes) -> None:
        """See asyncio.WriteTransport."""
        if self._first:
            self._first = False
            self._waiting = data
            asyncio.get_running_loop().call_soon(self._flush)
        elif self._waiting:
            waiting, self._waiting = self._waiting, b""
            self._transport.write(waiting + data)
        else:
            self._transport.write(data)

    def _flush(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, b""
            self._transport.write(waiting)

    def __getattr__(self, name: str) -> Any:
        self._flush()
        return getattr(self._transport, name)
