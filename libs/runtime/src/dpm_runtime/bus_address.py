"""Where the node's bus listens: ``<run>/bus.json``, which whoever runs nats-server writes.

It is the node's, and no card of a process: while nats-server is down, services still start, and wait for it there.
"""

import json
from pathlib import Path

from dpm_core.errors import Unavailable
from dpm_runtime import whole_file
from dpm_runtime.home import Home

SERVICE = "nats"
"""The name of nats-server among the services."""


def _file(home: Home) -> Path:
    return home.run / "bus.json"


def bus_url(home: Home) -> str:
    """The URL of nats-server, e.g. ``nats://127.0.0.1:4222``. Raises Unavailable if nobody has started it."""
    try:
        card = json.loads(_file(home).read_bytes())
        return str(card["url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            f"the bus has no address in {_file(home)}", retry_after=1.0, advice="is the node up?"
        ) from error


def announce_bus(home: Home, url: str) -> None:
    """Say where the bus listens, until :func:`withdraw_bus`."""
    whole_file.replace(_file(home), json.dumps({"service": SERVICE, "url": url}).encode())


def withdraw_bus(home: Home) -> None:
    """Remove what :func:`announce_bus` wrote: there is no bus any more."""
    _file(home).unlink(missing_ok=True)
