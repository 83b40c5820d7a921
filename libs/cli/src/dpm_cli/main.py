"""The command ``dpm``. What a command needs is imported when it runs, so that help comes at once."""

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from dpm_cli import backup_command, complete, node_command, show, store_command, tls_command, token_command
from dpm_cli.explain import command as explain_command
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_cli.outcome import ExitCode, WrongState, exit_code_of
from dpm_cli.plugged import WithPlugged
from dpm_cli.prefetch import command as prefetch_command
from dpm_cli.systemd import command as systemd_command
from dpm_cli.top import command as top_command
from dpm_cli.use import command as use_command
from dpm_core.errors import DpmError, Invalid

PLATFORM = sys.platform
ANYWHERE = frozenset({"events", "prefetch", "use"})
"""What works without a node on this machine, and so also where none can run."""

app = typer.Typer(
    cls=WithPlugged,
    help="Runs a DPM node on this machine and shows what it does.\n\n"
    "A node keeps the packages that pip, uv and others fetch through it. All its state is in one home, "
    "$DPM_HOME; settings come from DPM_… in the environment, then from dpm.toml in the home.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich" if show.is_decorated() else None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(token_command.app, name="token", epilog=EXIT_CODES)
app.add_typer(tls_command.app, name="tls", epilog=EXIT_CODES)
app.add_typer(systemd_command.app, name="service", epilog=EXIT_CODES)
app.add_typer(store_command.store, name="store", epilog=EXIT_CODES)
app.add_typer(store_command.commands)
app.add_typer(backup_command.commands)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and end.", is_eager=True)] = False,
) -> None:
    """Options of the command itself."""
    if version:
        from dpm_cli.version import own_version

        typer.echo(f"dpm {own_version()}")
        raise typer.Exit
    if PLATFORM != "linux" and context.invoked_subcommand not in ANYWHERE:
        raise WrongState(
            f"a node runs on Linux only, so there is nothing here for `dpm {context.invoked_subcommand}`; "
            f"with a node elsewhere there are {', '.join(f'`dpm {name}`' for name in sorted(ANYWHERE))}"
        )


node_command.register(app)


@app.command(epilog=EXIT_CODES)
def status(as_json: AsJson = False) -> None:
    """Show the node: version, home, ports, services, what it holds, and its hits, misses and bypasses."""
    from dpm_cli import status as view

    summary = asyncio.run(view.collect(own_settings()))
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
        list[str] | None,
        typer.Option(help="Only of this ecosystem. May be given again.", autocompletion=complete.ecosystems),
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these, e.g. artifact-stored. May be given again.", autocompletion=complete.event_names
        ),
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
        node_command.ask({"do": "status"})
        source = Source.of_home(own_settings().folders)
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


explain_command.register(app)
use_command.register(app)
prefetch_command.register(app)
top_command.register(app)


def main() -> None:
    """Run the command, and turn errors into words, or into JSON if that was asked for, and into exit codes."""
    os.umask(0o077)  # what it writes is below the home, and nobody else's
    as_json = "--json" in sys.argv[1:]  # also where nothing else of the command line can be understood
    try:
        sys.exit(app(standalone_mode=not as_json))
    except typer.TyperException as error:  # wrong usage; without JSON typer itself tells of it
        fail(error.format_message(), error.exit_code, as_json=as_json)
    except DpmError as error:
        fail(str(error), exit_code_of(error), getattr(error, "advice", ""), as_json=as_json)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
    except OSError as error:
        fail(str(error), ExitCode.FAILED, as_json=as_json)


def fail(what: str, code: int, advice: str = "", *, as_json: bool) -> NoReturn:
    """Tell of an error, and end with the exit code."""
    if as_json:
        show.line_of_data({"error": {"code": code, "message": what, "advice": advice}})
    else:
        show.problem(what, advice)
    sys.exit(code)


def _until_interrupted(watching: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(watching)
    except KeyboardInterrupt:
        raise typer.Exit from None
