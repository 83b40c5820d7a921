"""``dpm network create`` and ``dpm network join``: what makes a network on this node."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_cli.outcome import ExitCode, WrongState
from dpm_core.errors import Invalid, Unavailable
from dpm_peer.commands.credentials import (
    STDIN,
    Homeserver,
    PasswordFile,
    TokenFile,
    login_of,
    read_text,
    warn_of_plain_http,
)
from dpm_peer.commands.rules import Excepts, Pages, Shares, rule_of

if TYPE_CHECKING:
    from dpm_core.networks import Invitation, Network
    from dpm_core.sharing import Rule
    from dpm_peer.entering import Login
    from dpm_peer.network_files import NetworkFiles

PREFIX = "dpm-invitation:"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog=EXIT_CODES)(create)
    app.command(epilog=EXIT_CODES)(join)


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="a to z, 0 to 9, hyphens")],
    homeserver: Homeserver = "",
    user: Annotated[
        str, typer.Option(metavar="USER", help="The account of this node, which is to keep the network.")
    ] = "",
    serve: Annotated[
        bool, typer.Option("--serve", help="On a Synapse that this node runs, which is made if there is none.")
    ] = False,
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    federate: Annotated[
        bool, typer.Option("--federate", help="Accounts of other homeservers can be let in, now or later.")
    ] = False,
    pages: Pages = False,
    share: Shares = None,
    excepts: Excepts = None,
    as_json: AsJson = False,
) -> None:
    """Make a network: a private room on a Matrix homeserver, and a swarm key. This node keeps it.

    The account must be this node's own. One that administers a Synapse can let others register.
    """
    from dpm_core.networks import network_name
    from dpm_peer.commands.folders import alone, require_new

    rule = rule_of(share, excepts, pages=pages)
    if serve == bool(homeserver) or (serve and (user or password_file or token_file)):
        raise Invalid("either --homeserver and an account there, or --serve")
    with alone(network_name(name)) as files:
        require_new(files)
        if serve:
            network = asyncio.run(_served(files, rule, federate=federate))
        else:
            warn_of_plain_http(homeserver)
            login = login_of(user, password_file, token_file)
            network = asyncio.run(_created(files, homeserver, user, login, rule, federate=federate))
    _tell(network, as_json, "Let others in: dpm network invite " + name)


def join(
    invitation: Annotated[
        str, typer.Argument(metavar="INVITATION", help="the text itself, a file that holds it, or - for stdin")
    ],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What it is called on this node; unset: as where it was made.")
    ] = "",
    homeserver: Annotated[
        str, typer.Option(metavar="URL", help="Of the account's homeserver, if the invitation names another.")
    ] = "",
    password_file: PasswordFile = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Come into the network of an invitation. An account is registered for this node, unless one was invited.

    Broken off, it goes on where it was when it is called again with the same invitation. A node that was removed,
    or missed a new swarm key, comes in again by an invitation for the account that it has.
    """
    from dpm_core.networks import network_name
    from dpm_peer.commands.folders import alone

    invited = _read(invitation)
    server = homeserver or invited.homeserver
    held = _held(invited.room)
    with alone(held or network_name(name or invited.name)) as files:
        login = None
        if held:
            asyncio.run(_again(files, invited))
        if not _goes_on(files, invited):
            warn_of_plain_http(server)
            if not invited.registration_token:
                login = login_of(invited.user, password_file, token_file)
        network = asyncio.run(_joined(files, invited, server, login))
        unreached = asyncio.run(_unreached(invited.contacts))
    _tell(network, as_json, *(f"{each} does not answer from here" for each in unreached), unreached=unreached)


async def _created(
    files: "NetworkFiles", homeserver: str, user: str, login: "Login", rule: "Rule", *, federate: bool
) -> "Network":
    from dpm_peer.entering import log_in_as
    from dpm_peer.founding import found, session
    from dpm_runtime.service import SystemClock

    clock = SystemClock()
    account = await log_in_as(homeserver, user, login, clock)
    async with session(account, clock, borrowed=bool(login.token)) as link:
        return await found(files, link, rule, clock, federate=federate, borrowed=bool(login.token))


async def _served(files: "NetworkFiles", rule: "Rule", *, federate: bool) -> "Network":
    from dpm_peer.commands.own_homeserver import served
    from dpm_peer.entering import DEVICE
    from dpm_peer.founding import found, session
    from dpm_runtime.service import SystemClock

    clock = SystemClock()
    async with served(own_settings(), DEVICE) as account, session(account, clock, borrowed=False) as link:
        return await found(files, link, rule, clock, federate=federate, borrowed=False)


async def _joined(files: "NetworkFiles", invited: "Invitation", server: str, login: "Login | None") -> "Network":
    from dpm_peer.entering import enter
    from dpm_runtime.service import SystemClock

    try:
        return await enter(files, invited, SystemClock(), homeserver=server, login=login)
    except Unavailable as error:
        if not error.lasting and not error.advice:
            error.advice = "the same command goes on where it broke off"
        raise


async def _unreached(contacts: tuple[str, ...]) -> list[str]:
    from dpm_peer.reaching import unreached

    return await unreached(contacts)


def _held(room: str) -> str:
    """What the network with this room is called on this node, if it is in it. Raises Invalid, TooNew."""
    from dpm_peer.network_files import NetworkFiles

    home = own_settings().folders
    named = ((name, NetworkFiles(home.networks / name).network().room) for name in home.network_names)
    return next((name for name, its_room in named if its_room == room), "")


async def _again(files: "NetworkFiles", invited: "Invitation") -> None:
    """Go out of the network, to come in anew. Raises WrongState if that would change nothing."""
    from dpm_peer.commands.service import until_it_has_ended
    from dpm_peer.entering import enter_again

    if not enter_again(files, invited):
        raise WrongState(f"this node is in that network already, as {files.folder.name}")
    await until_it_has_ended(own_settings().folders, files.folder.name)


def _goes_on(files: "NetworkFiles", invited: "Invitation") -> bool:
    """Whether this way in was begun, and needs no login any more. Raises WrongState if it cannot be."""
    from dpm_peer.commands.folders import require_new

    joining = files.joining()
    if joining and (joining.room, joining.user) == (invited.room, invited.user):
        return bool(joining.token)
    require_new(files)
    return False


def _read(text: str) -> "Invitation":
    """The invitation. Raises Invalid, TooNew."""
    from dpm_core.networks import Invitation

    if text.lstrip().startswith(PREFIX):
        return Invitation.read(text)
    file = Path(text)
    if file != STDIN and not os.path.lexists(file):
        raise Invalid(
            f"neither an invitation, which begins with {PREFIX}, nor a file that holds one: {text[:60]!r}"
        )
    return Invitation.read(read_text("the invitation", file))


def _tell(network: "Network", as_json: bool, *notes: str, **more: Any) -> None:
    """Have the node take the network up, and say how it does; raises Exit if it does not run where it could."""
    from dpm_peer.commands.service import STOPPED, until_it_runs
    from dpm_peer.networks import Life

    life, why = asyncio.run(until_it_runs(own_settings().folders, network.name))
    if as_json:
        described = {"name": network.name, "user": network.user, "room": network.room}
        show.data({**described, "homeserver": network.homeserver, "state": life, "detail": why, **more})
    else:
        out = show.console()
        out.print(f"This node is in {network.name}, as {network.user}: ", end="")
        if life == STOPPED:
            out.print("`dpm up` lets it work there")
        else:
            out.print(f"{life}: {why}" if why else life, style="" if life == Life.RUNNING else "yellow")
        for each in notes:
            out.print(each, style="dim")
    if life not in (STOPPED, Life.RUNNING):
        raise typer.Exit(ExitCode.FAILED)
