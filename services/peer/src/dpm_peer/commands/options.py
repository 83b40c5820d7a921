"""What several commands of ``dpm network`` take."""

from collections.abc import Iterable
from typing import Annotated

import typer

from dpm_cli.options import own_settings
from dpm_core.errors import DpmError


def network_names(incomplete: str) -> list[str]:
    """What the shell is offered for the name of a network: those that the node is in."""
    try:
        return [name for name in own_settings().folders.network_names if name.startswith(incomplete)]
    except (DpmError, OSError):
        return []


Named = Annotated[
    str,
    typer.Argument(metavar="NAME", help="as `dpm network list` shows it", autocompletion=network_names),
]


def require(name: str, names: Iterable[str]) -> None:
    """Raises WrongState if the node is in no network of this name."""
    from dpm_cli.outcome import WrongState

    if name not in (known := list(names)):
        raise WrongState(f"this node is in no network {name!r}; it is in: {', '.join(known) or 'none'}")
