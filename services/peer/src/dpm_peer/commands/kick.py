"""``dpm network kick``: a member is removed, and the others have a new swarm key."""

import asyncio
from typing import Annotated

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_peer.commands.options import Named, require


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("kick", epilog=EXIT_CODES)(kick)


def kick(
    name: Named,
    who: Annotated[str, typer.Argument(help="a Matrix id, the first part of one, or a peer's id")],
    why: Annotated[str, typer.Option(help="what the member is told")] = "",
    as_json: AsJson = False,
) -> None:
    """Remove a member, or take back an invitation, and give all others a new swarm key. For who keeps the network.

    Broken off, it goes on by itself, and may be asked for again.
    """
    from dpm_peer.commands.asking import asked

    home = own_settings().folders
    require(name, home.network_names)
    said = asyncio.run(asked(home, name, "/kick", {"who": who, "why": why}))
    if as_json:
        show.data(said)
        return
    out = show.console()
    out.print(f"{said['member']} is out of {name}. The others have swarm key {said['generation']}.")
    for user in said["without_key"]:
        out.print(f"{user} has not got it, as it was never heard here: invite it anew.", style="yellow")
    for user in said["invited"]:
        out.print(f"{user} has not joined yet, and its invitation is void now: invite it anew.", style="yellow")
