"""A network that people founded: one room on a Synapse, one key, and for each member what its node is to know."""

import secrets
import time
from dataclasses import dataclass

from dpm_core.networks import Network
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.box_keys import BoxKey
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.network_files import NetworkFiles
from dpm_peer.room_keeping import create_room, join, register, registration_token
from dpm_runtime.home import Home
from dpm_runtime.service import SystemClock
from dpm_testkit.synapse import SERVER_NAME, Synapse

CLOCK = SystemClock()


@dataclass(frozen=True)
class Team:
    """``members`` by the names of their accounts; the first one keeps the room."""

    key: SwarmKey
    members: dict[str, Network]

    def moves_in(self, name: str, home: Home) -> None:
        """Have a member's folder in a home."""
        network = self.members[name]
        files = NetworkFiles(home.networks / network.name)
        files.folder.mkdir(parents=True)
        files.keep(network, self.key)


async def founded(synapse: Synapse, keeper: str, *others: str, name: str = "team") -> Team:
    """A network, with accounts for all, who are in its room. None of their nodes runs yet."""
    accounts = {keeper: Account(synapse.url, f"@{keeper}:{SERVER_NAME}", "", await synapse.administrator(keeper))}
    async with MatrixLink.open(synapse.url, CLOCK, accounts[keeper]) as keepers:
        room = await create_room(keepers, name)
        for other in others:
            invitation = await registration_token(keepers, time.time())
            async with MatrixLink.open(synapse.url, CLOCK) as link:
                accounts[other] = await register(link, other, secrets.token_urlsafe(), invitation, "a test")
            await MatrixRoom(keepers, room, CLOCK).invite(accounts[other].user)
            async with MatrixLink.open(synapse.url, CLOCK, accounts[other]) as link:
                await join(link, room)
    boxes = {who: BoxKey.make() for who in accounts}
    trusted = {accounts[keeper].user: boxes[keeper].public.hex()}
    members = {
        who: Network(
            name, room, account.homeserver, account.user, account.device, account.access_token, trusted,
            boxes[who].public.hex(), boxes[who].private.hex(),
        )
        for who, account in accounts.items()
    }  # fmt: skip
    return Team(SwarmKey(secrets.token_bytes(32)), members)
