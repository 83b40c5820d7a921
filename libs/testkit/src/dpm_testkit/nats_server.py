"""A real nats-server with the configuration of a node, in a home of its own."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from dpm_cli.ports import choose_free
from dpm_runtime.bus import configure, local_url, provision
from dpm_runtime.bus_grants import STREAM_ACCOUNT, Grant, grants
from dpm_runtime.home import Home
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.nats_link import Link
from dpm_testkit.daemon import Daemon
from dpm_testkit.patience import PATIENCE

ANYTHING = Grant("anything", publish=(">",), subscribe=(">",), account=STREAM_ACCOUNT)
"""A key for tests that must do what no service may."""


def nats_server_binary() -> Path:
    """nats-server from PATH, or from ``.tools/bin`` of the repository. Raises FileNotFoundError."""
    for folder in Path(__file__).resolve().parents:
        built = folder / ".tools" / "bin" / "nats-server"
        if built.exists():
            return built
    found = shutil.which("nats-server")
    if found is None:
        raise FileNotFoundError("nats-server is neither in .tools/bin nor on PATH: `make tools` builds it")
    return Path(found)


class NatsServer(Daemon):
    """A server that can be stopped and started again on the same port and store."""

    def __init__(self, home: Home, table: Iterable[Grant] = ()) -> None:
        home.prepare()
        self.home = home
        self.port = choose_free()
        self.url = local_url(self.port)
        config = configure(home, self.port, (*grants(), *(table or (ANYTHING,))))
        log = home.logs / "nats.log"
        super().__init__(nats_server_binary(), "-c", config, ports=(self.port,), log=log)

    async def provision(self) -> None:
        """What set-up does."""
        await provision(self.url, self.home.key("setup"))

    @contextlib.asynccontextmanager
    async def bus(self, service: str, *, url: str | None = None, timeout: float = 2.0) -> AsyncIterator[NatsBus]:
        """A connected bus with the key of ``service``; ``url`` if it is to go through a proxy."""
        async with NatsBus.open(url or self.url, service, self.home.key(service), timeout=timeout) as bus:
            async with asyncio.timeout(PATIENCE):
                await bus.up()
            yield bus

    @contextlib.asynccontextmanager
    async def link(self, service: str) -> AsyncIterator[Link]:
        """A bare connection with the key of ``service``, to ask for what the ports do not offer."""
        link = Link(self.url, service, self.home.key(service))
        async with link.kept():
            async with asyncio.timeout(PATIENCE):
                await link.up()
            yield link


@contextlib.asynccontextmanager
async def running_nats(root: Path) -> AsyncIterator[NatsServer]:
    """A provisioned server with its home at ``root``."""
    server = NatsServer(Home(root))
    try:
        await server.start()
        await server.provision()
        yield server
    finally:
        await server.stop()
