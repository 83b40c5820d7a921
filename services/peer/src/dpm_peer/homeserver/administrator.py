"""The administrator of a node's own homeserver: the account that keeps the node's networks."""

import hashlib
import hmac

from dpm_core.errors import Unavailable
from dpm_core.ports import Clock
from dpm_peer.homeserver.synapse_config import SynapseSecrets
from dpm_peer.matrix_link import Account, MatrixLink, Refused
from dpm_peer.room_keeping import log_in

NAME = "keeper"
"""Its local part."""

_REGISTER = "/_synapse/admin/v1/register"


async def administrator(url: str, secrets: SynapseSecrets, device: str, clock: Clock) -> Account:
    """Log in as the administrator, as a new device; the account is made if it is not there. Raises Unavailable.

    https://element-hq.github.io/synapse/latest/admin_api/register_api.html
    """
    async with MatrixLink.open(url, clock) as link:
        nonce = str((await link.call("register", "GET", _REGISTER)).get("nonce"))
        words = "\0".join((nonce, NAME, secrets.password, "admin"))
        mac = hmac.new(secrets.registration.encode(), words.encode(), hashlib.sha1).hexdigest()
        body = {"nonce": nonce, "username": NAME, "password": secrets.password, "admin": True, "mac": mac}
        try:
            await link.call("register", "POST", _REGISTER, body=body)
        except Refused as why:
            if why.code != "M_USER_IN_USE":
                raise Unavailable(f"the homeserver's administrator cannot be made: {why}") from None
        return await log_in(link, NAME, secrets.password, device)
