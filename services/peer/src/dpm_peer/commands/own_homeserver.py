"""The node's own homeserver for the commands: it is made, and runs, whether the node does or not."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from dpm_cli import control
from dpm_cli.lock import NodeLock
from dpm_cli.outcome import NotRunning, WrongState
from dpm_cli.ports import require_free
from dpm_peer.homeserver import synapse_program
from dpm_peer.homeserver.administrator import administrator
from dpm_peer.homeserver.own import SERVICE, place_of, synapse_of
from dpm_peer.matrix_link import Account
from dpm_runtime.cards import read_cards
from dpm_runtime.service import SystemClock
from dpm_runtime.settings import Settings

START_SECONDS = 60.0


@asynccontextmanager
async def served(settings: Settings, device: str) -> AsyncIterator[Account]:
    """The node's own homeserver, made if there is none, while the context lasts, and for as long as the node runs.

    It is given as the account of its administrator: a new login, listed as ``device``. Raises Invalid,
    Unavailable, OSError.
    """
    synapse = synapse_of(settings)
    synapse_program.find(settings.homeserver_program)  # before anything is made that nobody could run
    _require_no_containers(settings)
    secrets = place_of(settings).made()
    async with AsyncExitStack() as running:
        if not await _started(settings):
            addresses = ("127.0.0.1", *settings.homeserver_listen)
            require_free("homeserver_port", addresses, settings.homeserver_port)
            await running.enter_async_context(synapse.running())
            await synapse.up()
        await synapse.answering()
        yield await administrator(synapse.settings.url, secrets, device, SystemClock())


def _require_no_containers(settings: Settings) -> None:
    if NodeLock(settings.folders).free() and any(read_cards(settings.folders)):
        raise WrongState(
            "this node runs in containers, and none of them is for a homeserver of its own: name one that runs "
            "elsewhere, with --homeserver"
        )


async def _started(settings: Settings) -> bool:
    """Have the running node run it; False if no node runs."""
    try:
        await control.ask(settings.folders, {"do": "start", "service": SERVICE}, seconds=START_SECONDS)
    except NotRunning:
        return False
    except WrongState:  # it runs already
        return True
    return True
