"""``dpm top``: the command and its loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpm_cli import show
from dpm_cli.options import EXIT_CODES, AsJson

if TYPE_CHECKING:
    from dpm_cli.top.gather import Moment, Watcher
    from dpm_runtime.home import Home


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EXIT_CODES)(top)


def top(
    interval: Annotated[float, typer.Option("--interval", "-i", min=0.1, help="Seconds between two looks.")] = 1.0,
    times: Annotated[
        int, typer.Option("--times", "-n", min=0, help="Look so often, then end; 0: until Ctrl-C.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Watch the node work: hits and misses, what it fetches and how far that is, its last events.

    Live on a terminal; in a pipe a few lines a look, with --json one object a line.
    """
    from dpm_runtime.settings import load

    watching = _watch(load().folders, interval, times, as_json=as_json)
    try:
        asyncio.run(watching)
    except KeyboardInterrupt:
        raise typer.Exit from None


async def _watch(home: "Home", interval: float, times: int, *, as_json: bool) -> None:
    from dpm_cli.top.gather import Watcher

    watcher = Watcher(home)
    reading = asyncio.create_task(watcher.read_events())
    out = show.console()
    live = out.is_terminal and not as_json
    before = None
    try:
        with _screen(home, watcher) if live else nullcontext() as screen:
            async for moment in _looks(watcher, interval, times):
                if screen is not None:
                    screen(moment, before)
                elif as_json:
                    show.line_of_data(moment.plain(before))
                else:
                    from dpm_cli.top.view import lines

                    for text in lines(moment, before):
                        out.print(text)
                    out.file.flush()
                before = moment
    finally:
        reading.cancel()
        await asyncio.wait({reading})


async def _looks(watcher: "Watcher", interval: float, times: int) -> "AsyncIterator[Moment]":
    done = 0
    while True:
        yield await watcher.look()
        done += 1
        if done == times:
            return
        await asyncio.sleep(interval)


def _screen(home: "Home", watcher: "Watcher") -> AbstractContextManager[Any]:
    """A context in which a function shows a moment on the whole terminal; what was there comes back after it."""
    from contextlib import contextmanager

    from rich.live import Live

    from dpm_cli.top.view import picture
    from dpm_cli.version import own_version

    title = f"DPM {own_version()}  {home.root}"

    @contextmanager
    def showing() -> Any:
        out = show.console()
        with Live(console=out, screen=True, auto_refresh=False) as live:

            def draw(moment: "Moment", before: "Moment | None") -> None:
                size = out.size
                drawn = picture(
                    title, moment, before, tuple(watcher.events), watcher.trouble, (size.width, size.height)
                )
                live.update(drawn, refresh=True)

            yield draw

    return showing()
