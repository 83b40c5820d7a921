"""Asking the running service about one network, or to do something with it."""

import json
from typing import Any

from dpm_cli.outcome import WrongState
from dpm_cli.services import PEER as SERVICE
from dpm_core.errors import Invalid, Unavailable
from dpm_core.registry import to_json
from dpm_peer.commands.service import NETWORKS
from dpm_runtime import unix_http
from dpm_runtime.home import Home

ANSWER_SECONDS = 180.0
"""For what may wait for a homeserver that limits how often it is asked."""


async def asked(home: Home, name: str, order: str = "", what: object = None) -> dict[str, Any]:
    """What the service answers; ``what`` goes with an ``order`` (see :class:`dpm_peer.orders.Orders`).

    Raises WrongState where it does not run, or the network does not; Invalid and Unavailable as it says.
    """
    socket = home.socket(SERVICE)
    path, body = f"{NETWORKS}/{name}{order}", None if what is None else to_json(what)
    try:
        status, answer = await unix_http.request(socket, path, body, seconds=ANSWER_SECONDS)
    except Unavailable as error:
        raise WrongState(
            f"the service of networks does not run ({error.what}): `dpm up`, or `dpm start peer`"
        ) from None
    try:
        said = json.loads(answer)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Unavailable(f"the service of networks answers {status}: its log says why")
    match status:
        case 200:
            return said
        case 400:
            raise Invalid(str(said["error"]))
        case 404 | 409:
            raise WrongState(str(said["error"]))
        case _:
            raise Unavailable(str(said["error"]), advice=str(said.get("advice", "")))
