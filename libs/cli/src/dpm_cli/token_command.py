"""``dpm token``: keys for others, each by a name that ends it again."""

import asyncio
import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from dpm_cli import show
from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.home import Home

app = typer.Typer(
    help="Give others a key of their own, and take it back.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="whose it is: a to z, 0 to 9, hyphens")]


@app.command()
def events(
    name: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the key to this new file, for you alone to read.")
    ] = None,
) -> None:
    """Make a key that may only read events, and print it: the file of a NATS nkey.

    It is shown this once and kept nowhere here.
    """
    home = _home()
    from dpm_runtime.bus_readers import admit, dismiss

    if output is not None:
        _require_new(output)
    seed = admit(home, name)
    try:
        running = _reload(home, "the key was not made: try again once it answers")
        _hand_over(seed, output)
    except BaseException:
        dismiss(home, name)  # nobody holds it
        raise
    for text in _how_to_use(running, output):
        show.console(stderr=True).print(text, style="dim")


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="JSON for programs")] = False) -> None:
    """Show whose keys there are: name, what for, when it was made, public key."""
    from dpm_runtime.bus_readers import readers

    found = readers(_home())
    if as_json:
        rows = [{"name": each.name, "for": "events", "made_at": each.made_at, "key": each.key} for each in found]
        typer.echo(json.dumps(rows))
        return
    for row in show.columns([(each.name, "events", _local(each.made_at), each.key) for each in found]):
        show.console().print("  ".join(row))


@app.command()
def revoke(name: Name) -> None:
    """End a key: connections with it are closed, and no new one is accepted."""
    home = _home()
    from dpm_runtime.bus_readers import dismiss

    dismiss(home, name)
    running = _reload(home, "it will when it starts again: `dpm stop nats`, `dpm start nats`")
    show.console().print(f"{name} may read no more" + ("" if running else "; no node runs on this home"))


def _home() -> Home:
    from dpm_runtime.settings import load

    home = load().folders
    home.prepare()
    return home


def _reload(home: Home, advice: str) -> str:
    """Have a running bus learn of the change; its address, empty if none runs. Raises Unavailable with advice."""
    from dpm_runtime import bus
    from dpm_runtime.bus_address import bus_url

    try:
        url = bus_url(home)
    except Unavailable:
        return ""
    try:
        asyncio.run(bus.reload(url, home.key("reload")))
    except Unavailable as error:
        raise Unavailable(f"the bus has not learnt of the change: {error}", advice=advice) from error
    return url


def _require_new(file: Path) -> None:
    if file.exists():
        raise Invalid(f"--output: {file} is there already")


def _hand_over(seed: str, file: Path | None) -> None:
    if file is None:
        print(seed, flush=True)
        return
    try:
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as out:
            out.write(seed + "\n")
    except OSError as error:
        raise Invalid(f"--output: {file} cannot be written: {error.strerror}") from error


def _how_to_use(url: str, file: Path | None) -> list[str]:
    from dpm_runtime.settings import is_loopback

    known = url and is_loopback(urlsplit(url).hostname or "")
    at, key = url if known else "nats://<node>:<port>", file or "FILE"
    lines = [] if url else ["No node runs on this home: the key will do once one does."]
    if file is None and sys.stdout.isatty():
        lines.append("Keep it in a FILE that only its user can read.")
    return [
        *lines,
        f"nats --server {at} --nkey {key} sub 'dpm.evt.>'",
        f"dpm events --server {at} --credentials {key}",
    ]


def _local(moment: float) -> str:
    return datetime.fromtimestamp(moment).isoformat(" ", "seconds")
