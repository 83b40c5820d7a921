"""``dpm store``, and the commands that change what is held: pin, unpin, evict, gc, repair."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson, own_settings, progress
from dpm_cli.outcome import ExitCode

if TYPE_CHECKING:
    from dpm_core.commands import Collected

HELP = {"help_option_names": ["-h", "--help"]}

store = typer.Typer(help="Show what is held, and look after it.", context_settings=HELP)
commands = typer.Typer(context_settings=HELP)

Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME...", help="as `dpm store` shows it, with * and ? for anything; or an id"),
]
Ecosystem = Annotated[str | None, typer.Option("--ecosystem", "-e", help="Only artifacts of this one.")]


@store.callback(invoke_without_command=True)
def show_store(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Artifacts in each list.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show what is held: by ecosystem, what is biggest, what was unused longest, what is pinned."""
    if context.invoked_subcommand is not None:
        return
    from dpm_cli import store_view

    shelf = store_view.look(own_settings(), limit)
    if as_json:
        typer.echo(shelf.to_json())
        return
    for text, style in store_view.lines(shelf):
        show.console().print(text, style=style or None)


@store.command(epilog=EXIT_CODES)
def check(as_json: AsJson = False) -> None:
    """Hash every blob on the disk, and set those aside that are wrong: they are fetched again when asked for.

    Also finds what the catalog has and the disk has not. Ends with 1 if anything was wrong.
    """
    from dpm_cli import keeper
    from dpm_core.commands import Check, Checked

    checked = asyncio.run(keeper.ask(own_settings().folders, "check", Check(), Checked, progress(as_json)))
    wrong = len(checked.bad) + len(checked.lost)
    if as_json:
        show.data(asdict(checked))
    else:
        out = show.console()
        out.print(f"{checked.blobs} blobs: {len(checked.bad)} set aside, {len(checked.lost)} without a file")
        if checked.unnamed:
            out.print(f"{checked.unnamed} blobs that no artifact has", style="dim")
    if wrong:
        raise typer.Exit(ExitCode.FAILED)


@commands.command(epilog=EXIT_CODES)
def pin(names: Names, ecosystem: Ecosystem = None, as_json: AsJson = False) -> None:
    """Keep artifacts whatever the store's size."""
    _change("pin", "pinned", names, ecosystem, as_json)


@commands.command(epilog=EXIT_CODES)
def unpin(names: Names, ecosystem: Ecosystem = None, as_json: AsJson = False) -> None:
    """Let artifacts be evicted again."""
    _change("unpin", "no longer pinned", names, ecosystem, as_json)


@commands.command(epilog=EXIT_CODES)
def evict(names: Names, ecosystem: Ecosystem = None, as_json: AsJson = False) -> None:
    """Take artifacts out of the store. They are fetched again when somebody asks for them."""
    _change("evict", "evicted", names, ecosystem, as_json)


@commands.command(epilog=EXIT_CODES)
def gc(
    down_to: Annotated[
        str | None, typer.Option("--down-to", metavar="SIZE", help="Evict until so much is held: 20GiB, 0.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make room now: evict what was used longest ago, and remove what nobody has any more.

    Without --down-to as much goes as the settings say, which may be nothing. What is pinned stays.
    """
    from dpm_cli import keeper
    from dpm_cli.amounts import bytes_of
    from dpm_core.commands import Collect, Collected

    command = Collect(None if down_to is None else bytes_of(down_to), dry_run)
    collected = asyncio.run(keeper.ask(own_settings().folders, "collect", command, Collected, progress(as_json)))
    if as_json:
        show.data(asdict(collected))
    else:
        _show_collected(collected, dry_run)


@commands.command(epilog=EXIT_CODES)
def repair(as_json: AsJson = False) -> None:
    """Tell the log of all that lies in the store and is not in it, as after it was lost.

    Ends with 1 if not all could be told: an artifact is being fetched, or nobody can say what a blob is.
    """
    from dpm_cli import keeper
    from dpm_core.commands import Repair, Repaired

    repaired = asyncio.run(keeper.ask(own_settings().folders, "repair", Repair(), Repaired, progress(as_json)))
    if as_json:
        show.data(asdict(repaired))
    else:
        out = show.console()
        out.print(
            f"{repaired.blobs} blobs: {repaired.told} artifacts told to the log, {repaired.known} known to it"
        )
        if repaired.evicted:
            out.print(f"{repaired.evicted} artifacts that were evicted stay so", style="dim")
        if repaired.pinned:
            out.print(f"{repaired.pinned} artifacts are pinned again")
        for name in repaired.busy:
            out.print(f"{name} is being fetched", style="yellow")
        if repaired.bad:
            out.print(f"{len(repaired.bad)} blobs of which nobody can say what they are", style="yellow")
    if repaired.busy or repaired.bad:
        raise typer.Exit(ExitCode.FAILED)


def _show_collected(collected: "Collected", dry_run: bool) -> None:
    from dpm_cli.store_view import item_lines

    out = show.console()
    for line in item_lines(collected.evicted):
        out.print(line)
    would = "would be " if dry_run else ""
    blobs = f"{len(collected.leftovers)} blobs that nobody has any more {would}removed"
    out.print(f"{len(collected.evicted)} artifacts {would}evicted, {blobs}: {show.amount(collected.freed)}")


def _change(command: str, word: str, names: Sequence[str], ecosystem: str | None, as_json: bool) -> None:
    from dpm_cli import keeper
    from dpm_core.commands import Changed, Selection

    selection = Selection(tuple(names), ecosystem)
    changed: Changed = asyncio.run(
        keeper.ask(own_settings().folders, command, selection, Changed, progress(as_json))
    )
    if as_json:
        show.data(asdict(changed))
    else:
        out = show.console()
        for item in changed.done:
            out.print(f"{item.name} ({item.ecosystem}, {show.amount(item.size)}) is {word}")
        for passed in changed.passed:
            out.print(f"{passed.item.name} ({passed.item.ecosystem}): {passed.why}", style="yellow")
    if not changed.done:
        raise typer.Exit(ExitCode.STATE)
