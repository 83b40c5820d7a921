"""``dpm up``, ``down``, ``start`` and ``stop``: a node and its services begin and end."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpm_cli import show
from dpm_cli.complete import services
from dpm_cli.options import EXIT_CODES, AsJson, own_settings
from dpm_core.errors import DpmError

if TYPE_CHECKING:
    from dpm_cli.control import Message
    from dpm_cli.status import Summary

ServiceName = Annotated[
    str,
    typer.Argument(metavar="SERVICE", help="its name, as `dpm status` shows it", autocompletion=services),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (up, down, start, stop):
        app.command(epilog=EXIT_CODES)(command)


def up(
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once the node serves, and leave it running.")
    ] = False,
    tell: Annotated[int, typer.Option(hidden=True)] = -1,
    as_json: AsJson = False,
) -> None:
    """Run a node: set up what is missing, start its services, and restart any that dies.

    In the foreground until Ctrl-C. Everything that it started ends with it.
    """
    if detach:
        _up_detached(as_json)
    else:
        _up(tell, as_json)


def down(as_json: AsJson = False) -> None:
    """Stop the node, wherever it was started, and wait until all of it has ended."""
    home = own_settings().folders
    from dpm_cli.down import down as stop

    said: list[str] = []
    asyncio.run(stop(home, said.append if as_json else show.console().print))
    if as_json:
        show.data({"home": str(home.root), "running": False, "said": said})


def start(service: ServiceName, as_json: AsJson = False) -> None:
    """Start a service that `dpm stop` has stopped, or a gateway that was installed since the node began.

    Its settings are read then. Fetchers, which are to know what is set of its upstreams, start anew one by one.
    """
    _change("start", service, "running", f"{service} runs", as_json)


def stop(service: ServiceName, as_json: AsJson = False) -> None:
    """Stop one service and leave it stopped until `dpm start`; the others go on."""
    _change("stop", service, "stopped", f"{service} is stopped", as_json)


def ask(request: "Message") -> "Message":
    """What the node of this home answers. Raises as :func:`dpm_cli.control.ask` does."""
    from dpm_cli.control import ask

    return asyncio.run(ask(own_settings().folders, request))


def _change(what: str, service: str, state: str, words: str, as_json: bool) -> None:
    ask({"do": what, "service": service})
    if as_json:
        show.data({"service": service, "state": state})
    else:
        show.console().print(words)


def _up_detached(as_json: bool) -> None:
    from dpm_cli import detach
    from dpm_cli.lock import require_short

    home = own_settings().folders
    require_short(home)
    home.prepare()
    summary = detach.start(home)
    if as_json:
        show.data(asdict(summary))
    else:
        _welcome(summary, ending="`dpm down` stops it")


def _up(tell: int, as_json: bool) -> None:
    from dpm_cli import node
    from dpm_cli.detach import Messenger
    from dpm_cli.systemd.notify import notifier

    messenger = Messenger(tell) if tell >= 0 else None
    manager = notifier()

    def announce(summary: "Summary") -> None:
        if as_json:
            _line(ready=asdict(summary))
        else:
            _welcome(summary, ending="Ctrl-C stops it" if messenger is None else "`dpm down` stops it")
        manager.ready(f"serves {', '.join(summary.addresses.values())}")
        if messenger:
            messenger.ready(summary)

    say: Callable[[str], None] = (lambda text: _line(say=text)) if as_json else _say
    try:
        asyncio.run(node.run(own_settings(), say=say, announce=announce))
    except DpmError as error:
        if messenger:
            messenger.failed(error)
        raise


def _line(**said: Any) -> None:
    show.line_of_data({"time": time.time(), **said})


def _say(text: str) -> None:
    out = show.console()
    out.print(time.strftime("%H:%M:%S"), style="dim", end=" ")
    out.print(text)
    out.file.flush()


def _welcome(summary: "Summary", ending: str) -> None:
    from dpm_runtime.plugins import installed

    out = show.console()
    out.print(f"DPM {summary.version} runs.", style="bold green", end=" ")
    out.print(f"State is in {summary.home}; {ending}.")
    for name, plugin in installed().items():
        addresses = {at: url for at, url in summary.addresses.items() if at.partition(" ")[0] == name}
        for before, text in plugin.welcome(addresses) if addresses else ():
            out.print(f"  {before:<4}  {text}", style="bold" if text in addresses.values() else None)
    if any(url.startswith("https:") for url in summary.addresses.values()):
        out.print("  CA    clients must trust the node's: dpm use <client>")
    out.print("  See   dpm status, dpm events", style="dim")
    out.file.flush()
