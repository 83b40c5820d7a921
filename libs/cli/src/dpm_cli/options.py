"""What the commands have in common: options that several take, and what help says of exit codes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from dpm_cli import show

if TYPE_CHECKING:
    from dpm_runtime.settings import Settings

EXIT_CODES = (
    "Exit codes: 0 it worked; 1 it failed; 2 wrong usage or settings; "
    "3 the node or the service is not in a state for this: already running, not running."
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs")]


def progress(as_json: bool) -> Callable[[str], None]:
    """What tells of progress: on stdout for people, nowhere for programs."""
    return (lambda text: None) if as_json else show.console().print


def own_settings() -> "Settings":
    """The settings of this process. Raises Invalid."""
    from dpm_runtime.settings import load

    return load()
