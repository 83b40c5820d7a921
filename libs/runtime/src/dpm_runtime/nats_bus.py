"""A service's place on the bus: one connection, the log and the taps over it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from dpm_core.subjects import EVENTS, HINTS
from dpm_runtime.disk import Floor
from dpm_runtime.meters import Kind, observed
from dpm_runtime.nats_link import Link
from dpm_runtime.nats_log import NatsEventLog
from dpm_runtime.nats_tap import NatsTap

_connections = observed(
    "dpm.bus.connections", Kind.GAUGE, "{connection}", "connections to the bus: 1, or 0 without"
)


class NatsBus:
    """The log and the taps of one service. They work when the bus is there; the service starts without it."""

    def __init__(self, link: Link, *, told: str = HINTS, floor: Floor | None = None) -> None:
        self._link = link
        self.log = NatsEventLog(link, told=told, floor=floor)
        self.tap = NatsTap(link)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        url: str,
        service: str,
        seed_file: Path,
        *,
        timeout: float = 2.0,
        reader: bool = False,
        floor: Floor | None = None,
    ) -> AsyncIterator["NatsBus"]:
        """Connect in the background, for ever, as ``service`` with its nkey; ``timeout`` (seconds) a request.

        Nothing is appended below ``floor``. A ``reader`` has a key that only reads; it is
        given up for good when the server refuses it, and whoever waits gets KeyRefused then. Never waits for the
        server. Raises Invalid if the seed cannot be read.
        """
        link = Link(url, service, seed_file, timeout=timeout, insistent=not reader)
        async with link.kept():
            with _connections.by(lambda: [(int(link.connected), {})]):
                yield cls(link, told=EVENTS if reader else HINTS, floor=floor)

    @property
    def connected(self) -> bool:
        """Whether the bus can be used now."""
        return self._link.connected

    @property
    def reason(self) -> str:
        """Why it cannot be used; empty if it can."""
        return self._link.reason

    async def up(self) -> None:
        """Wait until the bus can be used, for ever. Raises KeyRefused for a reader whose key is not accepted."""
        await self._link.up()
