"""The service of networks as the commands have to do with it: it may run, or not."""

import asyncio
import json
import time
from typing import Any

from dpm_cli import control
from dpm_cli.outcome import NotRunning, WrongState
from dpm_cli.services import PEER as SERVICE
from dpm_core.errors import Unavailable
from dpm_peer.networks import Life
from dpm_runtime import unix_http
from dpm_runtime.home import Home
from dpm_runtime.ofd_lock import OfdLock

NETWORKS = "/networks"

STOPPED = "stopped"
"""How a network does where no service runs."""

LOOK_SECONDS = 0.1
"""Between two questions how a network does."""

LONGEST_SECONDS = 60.0
"""For so long a network is waited for, to run or to end."""

FAILING_SECONDS = 5.0
"""What fails for so long is told of, and waited for no longer."""

Health = dict[str, dict[str, str]]


async def health_of_all(home: Home, *, look: bool = False) -> Health | None:
    """How each network does, as :class:`dpm_peer.networks.Health`; None where no service runs.

    ``look``: it is also to see at once which have come or gone, and shows that a moment later.
    """
    try:
        status, body = await unix_http.request(home.socket(SERVICE), NETWORKS, b"{}" if look else None)
    except Unavailable:
        return None
    if status != 200:
        return None
    told: dict[str, Any] = json.loads(body)
    return told


async def until_it_runs(home: Home, name: str) -> tuple[str, str]:
    """Have the node take up a network that has come, and start the service if none runs.

    Returns how it does then, and why; STOPPED where no node runs.
    """
    if await health_of_all(home, look=True) is None:
        try:
            await control.ask(home, {"do": "start", "service": SERVICE})
        except NotRunning:
            return STOPPED, ""
        except WrongState:
            pass  # it is about to run
        except Unavailable as error:
            return Life.FAILING, str(error)
    began, failing = time.monotonic(), 0.0
    life, why = str(Life.STARTING), ""
    while time.monotonic() - began < LONGEST_SECONDS:
        health = await health_of_all(home) or {}
        if name in health:
            life, why = health[name]["life"], health[name]["detail"]
        if life in (Life.RUNNING, Life.OVER):
            break
        failing = failing or time.monotonic() if life == Life.FAILING else 0.0
        if failing and time.monotonic() - failing > FAILING_SECONDS:
            break
        await asyncio.sleep(LOOK_SECONDS)
    return life, why


async def until_it_has_ended(home: Home, name: str) -> None:
    """Wait until the service has let go of a network that is gone. Raises Unavailable if it does not."""
    began = time.monotonic()
    health = await health_of_all(home, look=True)
    while health is not None and name in health:
        if time.monotonic() - began > LONGEST_SECONDS:
            raise Unavailable(f"the service still works in {name}", advice="try again, or stop it: dpm stop peer")
        await asyncio.sleep(LOOK_SECONDS)
        health = await health_of_all(home)
    if health is None and OfdLock.held(home.run / f"{SERVICE}.lock"):
        raise Unavailable(f"the service has {name} and does not answer", advice="stop it first: dpm stop peer")
