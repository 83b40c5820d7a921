"""``dpm backup`` and ``dpm restore``."""

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings, progress
from dpm_cli.outcome import ExitCode

if TYPE_CHECKING:
    pass

commands = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]})


@commands.command(epilog=EXIT_CODES)
def backup(
    target: Annotated[
        Path, typer.Argument(metavar="FILE_OR_FOLDER", help="a new file, or a folder to make one in")
    ],
    blobs: Annotated[
        bool, typer.Option("--blobs/--without-blobs", help="The bytes of what is held, or only all about them.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Write all that the node holds and knows to one file, while it runs or not.

    The keys of its services are not in it. Who the node is in its networks is in it: keep it secret.
    """
    from dpm_cli.backing_up import back_up

    done = asyncio.run(back_up(own_settings().folders, target.absolute(), progress(as_json), blobs=blobs))
    if as_json:
        show.data(asdict(done))
        return
    out = show.console()
    out.print(f"{done.file}: {done.events} events, {done.blobs} blobs, {show.amount(done.bytes)}")
    if done.left_out:
        out.print(f"{done.left_out} blobs went meanwhile, or nobody can say what they are", style="yellow")


@commands.command(epilog=EXIT_CODES)
def restore(
    backup: Annotated[
        Path,
        typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help="what `dpm backup` wrote"),
    ],
    networks: Annotated[
        bool,
        typer.Option(
            "--networks/--without-networks",
            help="Be in its networks who that node was, which may run no more; or be in none.",
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Fill an empty home from a backup; `dpm up` then runs a node that holds what that one held.

    Ends with 1 if a blob in it was damaged: it was left out, and is fetched again when somebody asks for it.
    """
    from dpm_cli.restoring import restore_into

    with backup.open("rb") as file:
        done = asyncio.run(restore_into(own_settings().folders, file, progress(as_json), networks=networks))
    if as_json:
        show.data(asdict(done))
    else:
        out = show.console()
        out.print(f"{done.home}: {done.events} events, {done.blobs} blobs of DPM {done.version}")
        if done.networks:
            out.print(
                f"It is in {', '.join(done.networks)} as the node of the backup was, which must not run any more.",
                style="yellow",
            )
    if done.bad:
        raise typer.Exit(ExitCode.FAILED)
