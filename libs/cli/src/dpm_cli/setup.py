"""Set-up of the bus for one start of a node: keys, the configuration of nats-server, later its stream."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from dpm_runtime.home import Home


@dataclass(frozen=True)
class Bus:
    """What is known of the bus before nats-server runs; ``provision`` makes its stream once it does."""

    url: str
    config: Path
    provision: Callable[[], Awaitable[None]]


def set_up(home: Home, port: int) -> Bus:
    """Make the keys that are missing and configure nats-server to listen on ``port``. Raises Invalid."""
    from dpm_runtime import bus

    url = bus.local_url(port)
    config = bus.configure(home, port)

    async def provision() -> None:
        await bus.provision(url, home.key("setup"))

    return Bus(url, config, provision)
