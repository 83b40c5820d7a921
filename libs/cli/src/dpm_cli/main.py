"""The command ``dpm``. What a command needs is imported when it runs, so that help comes at once."""

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpm_cli import backup_command, show, store_command, token_command
from dpm_cli.options import EXIT_CODES, AsJson
from dpm_cli.outcome import ExitCode, exit_code_of
from dpm_cli.prefetch import command as prefetch_command
from dpm_cli.top import command as top_command
from dpm_cli.use import command as use_command
from dpm_core.errors import DpmError, Invalid

if TYPE_CHECKING:
    from dpm_cli.control import Message
    from dpm_cli.status import Summary
    from dpm_runtime.settings import Settings

app = typer.Typer(
    help="Runs a DPM node on this machine and shows what it does.\n\n"
    "A node keeps the packages that pip, uv and others fetch through it. All its state is in one home, "
    "$DPM_HOME; settings come from DPM_… in the environment, then from dpm.toml in the home.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich" if show.is_terminal() else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(token_command.app, name="token", epilog=EXIT_CODES)
app.add_typer(store_command.store, name="store", epilog=EXIT_CODES)
app.add_typer(store_command.commands)
app.add_typer(backup_command.commands)


def _service_names() -> list[str]:
    from dpm_cli.services import installed
    from dpm_runtime.bus_address import SERVICE

    return sorted({SERVICE, *installed()})


ServiceName = Annotated[
    str,
    typer.Argument(metavar="SERVICE", help="its name, as `dpm status` shows it", autocompletion=_service_names),
]


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.", is_eager=True)] = False,
) -> None:
    """Options of the command itself."""
    if version:
        from dpm_cli.status import own_version

        typer.echo(f"dpm {own_version()}")
        raise typer.Exit


@app.command(epilog=EXIT_CODES)
def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once the node serves, and leave it running.")
    ] = False,
    tell: Annotated[int, typer.Option(hidden=True)] = -1,
) -> None:
    """Run a node: set up what is missing, start its services, and restart any that dies.

    In the foreground until Ctrl-C. Everything that it started ends with it.
    """
    if detach:
        _up_detached(_settings())
    else:
        _up(tell)


@app.command(epilog=EXIT_CODES)
def down() -> None:
    """Stop the node, wherever it was started, and wait until all of it has ended."""
    home = _settings().folders
    from dpm_cli.down import down as stop

    asyncio.run(stop(home, show.console().print))


@app.command(epilog=EXIT_CODES)
def start(service: ServiceName) -> None:
    """Start a service that `dpm stop` has stopped, and supervise it again."""
    _ask({"do": "start", "service": service})
    show.console().print(f"{service} runs")


@app.command(epilog=EXIT_CODES)
def stop(service: ServiceName) -> None:
    """Stop one service and leave it stopped until `dpm start`; the others go on."""
    _ask({"do": "stop", "service": service})
    show.console().print(f"{service} is stopped")


@app.command(epilog=EXIT_CODES)
def status(as_json: AsJson = False) -> None:
    """Show the node: version, home, ports, services, what it holds, and its hits, misses and bypasses."""
    from dpm_cli import status as view

    summary = asyncio.run(view.collect(_settings()))
    if as_json:
        typer.echo(summary.to_json())
    else:
        out = show.console()
        for text, style in view.lines(summary):
            out.print(text, style=style or None)
    if not summary.running:
        raise typer.Exit(ExitCode.STATE)


@app.command(epilog=EXIT_CODES)
def events(
    as_json: AsJson = False,
    last: Annotated[
        int | None, typer.Option("--last", "-n", min=0, help="Begin with so many past events: 10.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Begin with those since 2h ago, a time (ISO 8601), or a sequence.")
    ] = None,
    ecosystem: Annotated[
        list[str] | None, typer.Option(help="Only of this ecosystem. May be given again.")
    ] = None,
    event: Annotated[
        list[str] | None, typer.Option(help="Only these, e.g. artifact-stored. May be given again.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="A bus elsewhere, e.g. nats://node.example:4222, with --credentials.")
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, readable=True, help="The key for it: see `dpm token events`."),
    ] = None,
) -> None:
    """Show events as they happen: time, event, name, size, source. Until Ctrl-C."""
    from dpm_cli.events_source import Source, selection_of
    from dpm_cli.events_view import watch

    selection = selection_of(since, last, ecosystem or (), event or (), time.time())
    if server is not None and credentials is not None:
        source = Source.elsewhere(server, credentials)
    elif server is None and credentials is None:
        _ask({"do": "status"})
        source = Source.of_home(_settings().folders)
    else:
        raise Invalid("--server and --credentials belong together")
    _until_interrupted(watch(source, selection, as_lines_of_json=as_json))


@app.command(epilog=EXIT_CODES)
def doctor(as_json: AsJson = False) -> None:
    """Look for what is missing or wrong on this machine, and say how to mend it. Changes nothing.

    Ends with 1 if a check has failed; warnings are no failure.
    """
    from dpm_cli import doctor as view

    report = asyncio.run(view.examine(view.checks(), view.subject()))
    if as_json:
        typer.echo(report.to_json())
    else:
        view.show_report(report)
    if not report.well:
        raise typer.Exit(ExitCode.FAILED)


use_command.register(app)
prefetch_command.register(app)
top_command.register(app)


def main() -> None:
    """Run the command, and turn errors into words and exit codes."""
    os.umask(0o077)  # what it writes is below the home, and nobody else's
    try:
        app()
    except DpmError as error:
        show.problem(str(error), getattr(error, "advice", ""))
        sys.exit(exit_code_of(error))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
    except OSError as error:
        show.problem(str(error))
        sys.exit(ExitCode.FAILED)


def _settings() -> "Settings":
    from dpm_runtime.settings import load

    return load()


def _ask(request: "Message") -> "Message":
    from dpm_cli.control import ask

    return asyncio.run(ask(_settings().folders, request))


def _until_interrupted(watching: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(watching)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _up_detached(settings: "Settings") -> None:
    from dpm_cli import detach
    from dpm_cli.lock import require_short

    home = settings.folders
    require_short(home)
    home.prepare()
    _welcome(detach.start(home), ending="`dpm down` stops it")


def _up(tell: int) -> None:
    from dpm_cli import node
    from dpm_cli.detach import Messenger

    messenger = Messenger(tell) if tell >= 0 else None

    def announce(summary: "Summary") -> None:
        _welcome(summary, ending="Ctrl-C stops it" if messenger is None else "`dpm down` stops it")
        if messenger:
            messenger.ready(summary)

    try:
        asyncio.run(node.run(_settings(), say=_say, announce=announce))
    except DpmError as error:
        if messenger:
            messenger.failed(error)
        raise


def _say(text: str) -> None:
    out = show.console()
    out.print(time.strftime("%H:%M:%S"), style="dim", end=" ")
    out.print(text)
    out.file.flush()


def _welcome(summary: "Summary", ending: str) -> None:
    out = show.console()
    out.print(f"DPM {summary.version} runs.", style="bold green", end=" ")
    out.print(f"State is in {summary.home}; {ending}.")
    index = summary.addresses.get("pypi")
    if index:
        out.print(f"  PyPI  {index}", style="bold")
        out.print(f"  pip   pip install --index-url {index} <package>")
        out.print(f"        for good: pip config set global.index-url {index}")
        out.print(f"  uv    uv pip install --default-index {index} <package>")
        out.print(f"        for good: UV_DEFAULT_INDEX={index} in the environment")
    for name, url in summary.addresses.items():
        if name.startswith("pypi "):
            out.print(f"  {name.removeprefix('pypi '):<5} {url}", style="bold")
    out.print("  See   dpm status, dpm events", style="dim")
    out.file.flush()
