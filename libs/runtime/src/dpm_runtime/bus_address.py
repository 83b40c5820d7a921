"""Where the node's bus listens: the card ``<run>/nats-0.json``, which whoever starts nats-server writes."""

import json

from dpm_core.errors import Unavailable
from dpm_runtime import whole_file
from dpm_runtime.home import Home

SERVICE = "nats"
"""The name of nats-server among the services."""


def bus_url(home: Home) -> str:
    """The URL of nats-server, e.g. ``nats://127.0.0.1:4222``. Raises Unavailable if nobody has started it."""
    try:
        card = json.loads(home.card(SERVICE).read_bytes())
        return str(card["url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(
            f"the bus has no address in {home.card(SERVICE)}", retry_after=1.0, advice="is the node up?"
        ) from error


def announce_bus(home: Home, url: str) -> None:
    """Write the card, replacing one that is there."""
    whole_file.replace(home.card(SERVICE), json.dumps({"service": SERVICE, "url": url}).encode())
