"""The service of networks as the commands have to do with it: it may run, or not."""

import json
from typing import Any

from dpm_core.errors import Unavailable
from dpm_runtime import unix_http
from dpm_runtime.home import Home
from dpm_runtime.peer_origin import SERVICE

NETWORKS = "/networks"


async def health_of_all(home: Home, *, look: bool = False) -> dict[str, dict[str, str]] | None:
    """How each network does, as :class:`dpm_peer.networks.Health`; None where no service runs.

    ``look``: it is also to see at once which have come or gone, and shows that a moment later.
    """
    try:
        status, body = await unix_http.request(home.socket(SERVICE), NETWORKS, b"{}" if look else None)
    except Unavailable:
        return None
    if status != 200:
        return None
    told: dict[str, Any] = json.loads(body)
    return told
