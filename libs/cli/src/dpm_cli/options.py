"""What the commands have in common: options that several take, and what help says of exit codes."""

from typing import Annotated

import typer

EXIT_CODES = (
    "Exit codes: 0 it worked; 1 it failed; 2 wrong usage or settings; "
    "3 the node or the service is not in a state for this: already running, not running."
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON for programs")]
