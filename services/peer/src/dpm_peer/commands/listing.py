"""``dpm network list``."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings

if TYPE_CHECKING:
    from dpm_runtime.home import Home


@dataclass(frozen=True)
class Listed:
    """A network that the node is in: the node's account there, its room, and whether the account keeps it.

    ``state`` is that of :class:`dpm_peer.networks.Life`, ``stopped`` where no service runs, ``joining`` where the
    way in broke off, or ``unreadable``; ``detail`` says why.
    """

    name: str
    user: str
    homeserver: str
    room: str
    keeper: bool
    state: str
    detail: str


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("list", epilog=EXIT_CODES)(list_)


def list_(as_json: AsJson = False) -> None:
    """Show the networks that the node is in: name, state, the node's account, the homeserver."""
    found = asyncio.run(networks(own_settings().folders))
    if as_json:
        show.data([asdict(each) for each in found])
        return
    out = show.console()
    for row in show.columns([_row(each) for each in found]):
        out.print("  ".join(row).rstrip())
    if not found:
        out.print("This node is in no network.", style="dim")


async def networks(home: "Home") -> list[Listed]:
    """The networks of a home, whether a node runs on it or not."""
    from dpm_peer.commands.service import health_of_all

    health = await health_of_all(home)
    found = [_listed(home, name, _life(health, name)) for name in home.network_names]
    return sorted([*found, *_joining(home)], key=lambda each: each.name)


def _joining(home: "Home") -> Iterator[Listed]:
    """Those into which a way was begun."""
    from dpm_core.errors import DpmError
    from dpm_peer.network_files import NetworkFiles

    for file in home.networks.glob("*/joining.json"):
        name = file.parent.name
        if name in home.network_names:
            continue
        with suppress(DpmError, OSError):
            if begun := NetworkFiles(file.parent).joining():
                how = f"it broke off: join again with the invitation, or `dpm network leave {name}`"
                yield Listed(name, begun.user, begun.homeserver, begun.room, False, "joining", how)


def _life(health: dict[str, dict[str, str]] | None, name: str) -> tuple[str, str]:
    if health is None:
        return "stopped", ""
    found = health.get(name, {"life": "starting", "detail": ""})  # the service has not seen its folder yet
    return found["life"], found["detail"]


def _listed(home: "Home", name: str, life: tuple[str, str]) -> Listed:
    from dpm_core.errors import DpmError
    from dpm_peer.network_files import NetworkFiles

    try:
        network = NetworkFiles(home.networks / name).network()
    except (DpmError, OSError) as error:
        return Listed(name, "", "", "", False, "unreadable", str(error))
    return Listed(name, network.user, network.homeserver, network.room, network.user in network.keepers, *life)


def _row(each: Listed) -> tuple[str, str, str, str]:
    state = f"{each.state}: {each.detail}" if each.detail else each.state
    return each.name, each.user + (" (keeper)" if each.keeper else ""), each.homeserver, state
