"""``dpm network invite``."""

import asyncio
import secrets
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_cli.outcome import WrongState
from dpm_cli.secret_file import hand_over, require_new
from dpm_core.errors import Invalid
from dpm_peer.commands.credentials import warn_of_plain_http
from dpm_peer.commands.options import Named, require

if TYPE_CHECKING:
    from dpm_core.networks import Invitation
    from dpm_peer.network_files import NetworkFiles


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EXIT_CODES)(invite)


def invite(
    name: Named,
    who: Annotated[
        str, typer.Argument(metavar="WHO", help="what the new account is to be called; unset: any name")
    ] = "",
    account: Annotated[
        str, typer.Option(metavar="MXID", help="One that exists, as @ben:matrix.example, instead of a new one.")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the invitation to this new file, for you alone to read."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an invitation for one node, and print it. Send it by a way that nobody listens to.

    Who has it can come in: as a new account, once and within 7 days, or as the account that it names.
    """
    from dpm_peer.network_files import NetworkFiles

    if who and account:
        raise Invalid("either WHO, for a new account, or --account")
    home = own_settings().folders
    require(name, home.network_names)
    if output is not None:
        require_new(output)
    made = _seen_by_others(asyncio.run(_invited(NetworkFiles(home.networks / name), who, account)))
    if output is not None:
        hand_over(made.text, output)
    if as_json:
        handed = {"invitation": made.text} if output is None else {"file": str(output)}
        show.data({"network": name, "user": made.user, **handed, "until": _until(made)})
        return
    if output is None:
        print(made.text, flush=True)
    out = show.console(stderr=True)
    out.print(f"For {made.user}: dpm network join {output.name if output else 'INVITATION'}", style="dim")
    if not made.contacts:
        out.print("It names no address of a node yet: none has said one in the room.", style="dim")


def _seen_by_others(made: "Invitation") -> "Invitation":
    """With what others call this node's own homeserver, if it is at that."""
    from dpm_peer.homeserver.own import is_own, to_others

    settings = own_settings()
    if not is_own(settings, made.homeserver):
        return made
    url, ca = to_others(settings)
    if is_own(settings, url):
        show.console(stderr=True).print(
            "The homeserver listens on this machine alone. For others set homeserver_listen in dpm.toml, "
            "`dpm stop homeserver` and `dpm start homeserver`, and invite again.",
            style="yellow",
        )
    else:
        warn_of_plain_http(url)
    return replace(made, homeserver=url, ca=ca)


async def _invited(files: "NetworkFiles", who: str, account: str) -> "Invitation":
    from dpm_peer.entering import account_in
    from dpm_peer.founding import contacts, invitation, invite_account, invite_new
    from dpm_peer.matrix_link import MatrixLink
    from dpm_runtime.service import SystemClock

    clock, network = SystemClock(), files.network()
    if network.user not in network.keepers:
        raise WrongState(f"others are let into {network.name} by its keeper: {', '.join(network.keepers)}")
    async with MatrixLink.open(network.homeserver, clock, account_in(network)) as link:
        known = await contacts(link, network, files.key(), clock)
        if account:
            await invite_account(link, network, account, clock)
            return invitation(network, files.key(), account, "", known)
        user, token = await invite_new(link, network, who or f"node-{secrets.token_hex(4)}", clock)
        return invitation(network, files.key(), user, token, known)


def _until(made: "Invitation") -> float | None:
    """Until when it can be used (seconds since the epoch), if not for ever."""
    from dpm_peer.room_keeping import TOKEN_SECONDS

    return time.time() + TOKEN_SECONDS if made.registration_token else None
