"""The networks of a node as its peer service tells of them, whatever that is and wherever it runs."""

import json
from typing import Any

from dpm_core.errors import Unavailable
from dpm_runtime import unix_http
from dpm_runtime.home import Home
from dpm_runtime.peer_origin import SERVICE

PATH = "/networks"

RUNNING = "running"
"""The life of a network that runs; the other words are the service's."""


async def networks(home: Home) -> dict[str, dict[str, Any]] | None:
    """How each network does; None where no service says so."""
    return await _asked(home, PATH, 2.0)


async def network(home: Home, name: str, seconds: float) -> dict[str, Any] | None:
    """All that the service knows of a network that runs; None if it does not say so within ``seconds``."""
    return await _asked(home, f"{PATH}/{name}", seconds)


async def _asked(home: Home, path: str, seconds: float) -> dict[str, Any] | None:
    try:
        status, body = await unix_http.request(home.socket(SERVICE), path, seconds=seconds)
        told = json.loads(body) if status == 200 else None
    except (Unavailable, ValueError):
        return None
    return told if isinstance(told, dict) else None
