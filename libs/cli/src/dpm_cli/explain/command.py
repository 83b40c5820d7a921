"""``dpm explain``: the command."""

import asyncio
import logging
from typing import Annotated

import typer

from dpm_cli import show
from dpm_cli.complete import index_paths
from dpm_cli.options import EXIT_CODES, AsJson, own_settings


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog=EXIT_CODES)(explain)


def explain(
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="of a page or file: the node's, upstream's, a path here, or a project's name",
            autocompletion=index_paths,
        ),
    ],
    events: Annotated[int, typer.Option("--events", "-n", min=0, help="Show so many of its last events.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Say what a client gets that asks for a page or file now, and why.

    Held or not, from whom it came, what vouched for it, how long it is fresh, where it lies, what happened to it.
    Asks nobody outside of this machine, and needs no node that runs; without one its events cannot be read.
    """
    from dpm_cli.explain.explanation import lines
    from dpm_cli.explain.gather import explanations

    logging.getLogger("dpm").addHandler(logging.NullHandler())  # what the bus says is in the explanation
    told, *others = asyncio.run(explanations(own_settings(), url))
    also = [{"path": each.path, "answer": each.verdict.answer, "why": each.verdict.why} for each in others]
    if as_json:
        show.data({**told.plain(), "also": also})
        return
    out = show.console()
    for text, style in lines(told, events):
        out.print(text, style=style or None)
    for each in also:
        out.print(f"also at {each['path']}: {each['answer']}, {each['why']}", style="dim")
