"""``dpm network peers``: who is in a network, and how each of them does."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_peer.commands.options import Named, require


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("peers", epilog=EXIT_CODES)(peers)


def peers(name: Named, as_json: AsJson = False) -> None:
    """Show who is in a network: state, what each shares, when it was heard, where it can be reached."""
    from dpm_peer.commands.asking import asked

    home = own_settings().folders
    require(name, home.network_names)
    said = asyncio.run(asked(home, name))
    if as_json:
        show.data(said)
        return
    out = show.console()
    for line, style in lines(said, time.time()):
        out.print(line, style=style or None)


def lines(said: Mapping[str, Any], now: float) -> list[tuple[str, str]]:
    """What the service says of a network, for people: each line with its style, empty for none."""
    keeper = " (keeper)" if said["user"] in said["keepers"] else ""
    facts = {
        "account": f"{said['user']}{keeper}",
        "room": f"{said['room']} at {said['homeserver']}",
        "swarm key": f"number {said['generation']}",
        "this node": " ".join([said["peer"] or "its Kubo does not answer", *said["addresses"]]),
    }
    told = [(line, "") for line in show.pairs(facts, "  ")]
    if said["away"]:
        told.append((f"  The homeserver is not heard: {said['away']}", "yellow"))
    if said["behind"]:
        told.append((f"  Swarm key {said['behind']} counts by now; this node was not given it.", "red"))
    rows = [_row(each, now) for each in said["members"]]
    styles = ["green" if each["standing"] == "here" else "yellow" for each in said["members"]]
    told += [("  ".join(row).rstrip(), style) for row, style in zip(show.columns(rows), styles, strict=True)]
    return (
        [(said["name"], "bold"), *told]
        if rows
        else [(said["name"], "bold"), *told, ("Nobody else is in it.", "dim")]
    )


def _row(member: Mapping[str, Any], now: float) -> list[str]:
    if member["peer"] is None:
        return [member["user"], member["standing"], "", "", "", ""]
    link = "connected" if member["connected"] else "not connected"
    shares = f"{member['files']} files, {show.amount(member['size'])}"
    if member["pages"]:
        shares += f", {member['pages']} pages"
    heard = "" if member["heard"] is None else f"heard {_ago(member['heard'])} ago"
    where = " ".join(member["addresses"])
    if member["reaches_us"] is False:
        where += "; does not reach this node at " + ", ".join(f"{at} ({why})" for at, why in member["missed"])
    if member["shut_out_until"]:
        where = f"let in again in {_ago(member['shut_out_until'] - now)}: {member['why']}"
    return [member["user"], member["standing"], link, shares, heard, where]


def _ago(seconds: float) -> str:
    """A span for people."""
    if seconds < 120:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
