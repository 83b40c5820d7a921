"""nats-server alone, on a home where no node runs: to copy its log, or to make it from a copy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from dpm_cli import nats_server, ports
from dpm_cli.processes import open_log
from dpm_cli.services import listens
from dpm_cli.setup import set_up
from dpm_core.errors import Unavailable
from dpm_runtime.home import Home

START_SECONDS = 60.0
"""To listen: it opens its log first, and reads the whole of it after a crash."""

LOOK_SECONDS = 0.05


@contextlib.asynccontextmanager
async def lone_bus(home: Home) -> AsyncIterator[str]:
    """A nats-server on a free port while the context lasts; gives its URL. Only for the holder of the home's lock.

    Raises Unavailable if it does not start, Invalid as ``set_up``.
    """
    port = ports.choose_free()
    bus = set_up(home, port)
    with open_log(home.logs / "nats.log") as log:
        server = await asyncio.create_subprocess_exec(
            nats_server.find(), "-c", bus.config, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        async with asyncio.timeout(START_SECONDS):
            while await listens("127.0.0.1", port):
                if server.returncode is not None:
                    raise Unavailable(f"nats-server ended at once: see {home.logs / 'nats.log'}")
                await asyncio.sleep(LOOK_SECONDS)
        yield bus.url
    except TimeoutError:
        raise Unavailable(f"nats-server was not ready within {START_SECONDS:g} s") from None
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()
