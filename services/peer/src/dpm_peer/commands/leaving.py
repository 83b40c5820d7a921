"""``dpm network leave``."""

import asyncio
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_cli.outcome import WrongState
from dpm_core.errors import Invalid, Unavailable
from dpm_peer.commands.options import Named

if TYPE_CHECKING:
    from dpm_core.networks import Network
    from dpm_peer.network_files import NetworkFiles
    from dpm_runtime.home import Home


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EXIT_CODES)(leave)


def leave(
    name: Named,
    abandon: Annotated[
        bool,
        typer.Option("--abandon", help="As its keeper: though nobody can be let in or removed any more."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Forget it here, though its homeserver cannot be told.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Leave a network: its room, and all that this node keeps of it. What was fetched from it stays in the store.

    Also what is left of a way into one that broke off.
    """
    from dpm_core.networks import network_name
    from dpm_peer.commands.folders import alone

    with alone(network_name(name)) as files:
        if not files.folder.exists():
            raise WrongState(f"this node is in no network {name}")
        told = asyncio.run(_left(own_settings().folders, files, abandon=abandon, force=force))
    if as_json:
        show.data({"name": name, "state": "left", "homeserver_told": told})
        return
    show.console().print(f"This node is in {name} no more")
    if not told:
        show.console().print("Its homeserver was not told: there it is a member as before", style="yellow")


async def _left(home: "Home", files: "NetworkFiles", *, abandon: bool, force: bool) -> bool:
    """Leave; whether the homeserver knows of it."""
    from dpm_peer.commands.service import until_it_has_ended

    told = await _told(files, abandon=abandon, force=force)
    files.end()
    await until_it_has_ended(home, files.folder.name)
    await asyncio.to_thread(_remove_rest, home, files.folder.name)
    files.remove()
    return told


async def _told(files: "NetworkFiles", *, abandon: bool, force: bool) -> bool:
    """Leave the room, where there is one. Raises WrongState, Unavailable."""
    from dpm_peer.entering import leave_begun, leave_room, others
    from dpm_runtime.service import SystemClock

    clock = SystemClock()
    try:
        network = _described(files)
        if network is None:
            if (joining := files.joining()) is not None:
                await leave_begun(joining, clock)
            return True
        if network.user in network.keepers and not abandon and (behind := await others(network, clock)):
            raise WrongState(
                f"this node keeps {network.name}, and nobody else can let in or remove others: "
                f"{', '.join(sorted(behind))} would be left behind. `--abandon` leaves all the same"
            )
        await leave_room(network, clock)
    except (Unavailable, Invalid) as error:
        if not force:
            raise Unavailable(
                str(error), advice="try again; or --force, to forget the network on this node alone"
            ) from None
        return False
    return True


def _described(files: "NetworkFiles") -> "Network | None":
    """The network; None of which only the folder is left, or a way into it. Raises Invalid, TooNew, OSError."""
    try:
        return files.network()
    except FileNotFoundError:
        return None


def _remove_rest(home: "Home", name: str) -> None:
    """Remove what can be made again: the repository, and what others said."""
    with suppress(FileNotFoundError):
        shutil.rmtree(home.kubo(name))
    for each in (*home.peers.glob(f"{name}.*"), *home.logs.glob(f"ipfs-{name}.log*")):
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)
