"""``dpm service``: install, show, uninstall."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings

if TYPE_CHECKING:
    from dpm_cli.systemd.install import Manager
    from dpm_cli.systemd.unit import Unit

app = typer.Typer(
    help="Let systemd run the node: as root for the whole machine, else for you.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

User = Annotated[
    str, typer.Option("--as", metavar="USER", help="As root: whose node it is; made if there is none.")
]
HomeFolder = Annotated[
    Path | None,
    typer.Option("--home", help="Its home; unset: /var/lib/dpm, or your own."),
]


@app.command(epilog=EXIT_CODES)
def install(
    user: User = "dpm",
    home: HomeFolder = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start it, now and with the machine.")] = True,
    as_json: AsJson = False,
) -> None:
    """Write the unit dpm.service and start it. What it is set to is in dpm.toml in its home."""
    from dpm_cli.systemd import install as place

    manager, unit = _planned(user, home)
    done = place.install(manager, unit, start=start)
    if as_json:
        show.data({"file": str(manager.file), "home": str(unit.home), "user": unit.user, "done": done})
        return
    _say(done)
    _say([f"See `{' '.join(manager.command('status', 'dpm'))}`, or ask it: {_asking(unit)}"])
    if manager.own:
        _say(["It ends when you log out, unless you allow it to linger: loginctl enable-linger"])


@app.command(epilog=EXIT_CODES)
def uninstall(as_json: AsJson = False) -> None:
    """Stop the node and remove the unit. The home stays."""
    from dpm_cli.systemd import install as place

    manager = place.manager_of(os.geteuid())
    done = place.uninstall(manager)
    if as_json:
        show.data({"file": str(manager.file), "done": done})
    else:
        _say(done)


@app.command("show", epilog=EXIT_CODES)
def show_unit(user: User = "dpm", home: HomeFolder = None, as_json: AsJson = False) -> None:
    """Print the unit that `dpm service install` would write."""
    manager, unit = _planned(user, home)
    if as_json:
        show.data({"file": str(manager.file), "home": str(unit.home), "user": unit.user, "text": unit.text})
    else:
        print(unit.text, end="")


def _planned(user: str, home: Path | None) -> "tuple[Manager, Unit]":
    from dpm_cli.systemd import install as place

    manager = place.manager_of(os.geteuid())
    return manager, place.unit_of(manager, place.own_program(), user, home, own_settings().folders.root)


def _asking(unit: "Unit") -> str:
    # another user sees nothing below the mount, not even root
    return f"{f'sudo -u {unit.user} ' if unit.user else ''}DPM_HOME={unit.home} {unit.program} status"


def _say(lines: list[str]) -> None:
    for line in lines:
        show.console().print(line)
