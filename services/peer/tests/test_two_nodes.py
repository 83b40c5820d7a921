"""Nodes of one network, each with a Kubo of its own, and one Synapse."""

import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dpm_core.cids import CHUNK
from dpm_core.errors import Unavailable
from dpm_core.events import PeerAdvertised, PeerJoined
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.networks import Network
from dpm_core.origins import NotHeld, Opened
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.box_keys import BoxKey
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.network_files import NetworkFiles
from dpm_peer.room_keeping import create_room, join, register, registration_token
from dpm_runtime.service import SystemClock
from dpm_testkit.kubo import SOON, kubo_node
from dpm_testkit.memory_log import MemoryEventLog
from dpm_testkit.origin_conformance import drained
from dpm_testkit.patience import eventually, until
from dpm_testkit.peer_node import PEERS, PeerNode, peer_node
from dpm_testkit.store_samples import want
from dpm_testkit.synapse import SERVER_NAME, running_synapse

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

CLOCK = SystemClock()
KEY = SwarmKey(secrets.token_bytes(32))


@dataclass
class Team:
    """Anna's and Ben's nodes; Anna, who keeps the network, had FIRST before Ben came."""

    anna: PeerNode
    ben: PeerNode
    let_in: Callable[[str], Awaitable[PeerNode]]


FIRST = os.urandom(3 * CHUNK + 7)


def described(account: Account, room: str, box: BoxKey, keepers: dict[str, str]) -> Network:
    return Network(
        "team", room, account.homeserver, account.user, account.device, account.access_token, keepers,
        box.public.hex(), box.private.hex(),
    )  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def team(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Team]:
    async with AsyncExitStack() as open:
        # sockets have short paths
        root = Path(open.enter_context(tempfile.TemporaryDirectory()))
        synapse = await open.enter_async_context(running_synapse(tmp_path_factory.mktemp("synapse")))

        async def link(account: Account | None = None) -> MatrixLink:
            return await open.enter_async_context(MatrixLink.open(synapse.url, CLOCK, account))

        token = await synapse.administrator("anna")
        annas = Account(synapse.url, f"@anna:{SERVER_NAME}", "", token)
        keeper = await link(annas)
        room = await create_room(keeper, "a network")
        box = BoxKey.make()
        keepers = {annas.user: box.public.hex()}

        async def node(name: str, account: Account, box: BoxKey) -> PeerNode:
            network = described(account, room, box, keepers)
            return await open.enter_async_context(peer_node(root / name[0], network, KEY, MemoryEventLog()))

        async def let_in(name: str) -> PeerNode:
            invitation = await registration_token(keeper, time.time())
            account = await register(await link(), name, secrets.token_urlsafe(), invitation, "a test")
            await MatrixRoom(keeper, room, CLOCK).invite(account.user)
            await join(await link(account), room)
            return await node(name, account, BoxKey.make())

        anna = await node("anna", annas, box)
        ben = await let_in("ben")
        await anna.has(FIRST, "first")
        yield Team(anna, ben, let_in)


async def got(node: PeerNode, body: bytes) -> str:
    """Who gave the file, once it can be had."""

    async def opened() -> Opened | None:
        answer = await node.origin.open(want(body))
        return answer if isinstance(answer, Opened) else None

    found = await eventually(opened)
    assert await drained(found) == body
    return found.source.name


async def test_what_one_node_has_the_other_gets_from_it(team: Team) -> None:
    giver = await got(team.ben, FIRST)
    joined = [each for each in team.ben.log.events if isinstance(each, PeerJoined)]
    assert [(each.peer, each.user) for each in joined] == [(giver, f"@anna:{SERVER_NAME}")]
    assert any(isinstance(each, PeerAdvertised) for each in team.ben.log.events)


async def test_what_comes_to_one_later_the_other_hears_of(team: Team) -> None:
    for size in (100, 5 * CHUNK):
        body = os.urandom(size)
        await team.anna.has(body, f"of-{size}")
        await got(team.ben, body)


async def test_what_was_fetched_is_given_on_and_is_on_disk_once(team: Team) -> None:
    body = os.urandom(8 * CHUNK)
    before = copied(team.ben)
    blob = await team.anna.has(body, "passed on")
    anna = await got(team.ben, body)
    await team.ben.has(body, "passed on", PEERS)
    await until(lambda: copied(team.ben) - before < CHUNK)
    await team.anna.evicts(blob, "passed on")
    assert await got(team.anna, body) != anna


def copied(node: PeerNode) -> int:
    """Bytes of blocks in Kubo's repository."""
    return sum(each.stat().st_size for each in node.home.kubo("team").rglob("*.data"))


async def test_what_is_evicted_nobody_is_promised_any_more(team: Team) -> None:
    body = os.urandom(2 * CHUNK)
    blob = await team.anna.has(body, "goes")
    await got(team.ben, body)
    await team.anna.evicts(blob, "goes")

    async def gone() -> bool:
        return isinstance(await team.ben.origin.open(want(body)), NotHeld)

    await eventually(gone)


async def test_who_is_removed_gets_nothing_more_and_the_others_go_on(team: Team, tmp_path: Path) -> None:
    carl = await team.let_in("carl")
    await got(carl, FIRST)

    async def seen() -> Any:
        said = await team.anna.order("/networks/team")
        here = all(each["connected"] and each["reaches_us"] for each in said["members"])
        return said if here else None

    said = await eventually(seen)
    assert [(each["user"], each["standing"]) for each in said["members"]] == [
        (f"@ben:{SERVER_NAME}", "here"),
        (f"@carl:{SERVER_NAME}", "here"),
    ]
    assert await team.anna.order("/networks/team/kick", who="carl", why="no longer of the team") == {
        "member": f"@carl:{SERVER_NAME}",
        "generation": 2,
        "without_key": [],
        "invited": [],
    }
    await until(lambda: carl.service.networks.health()["team"]["life"] == "over")
    assert "no longer of the team" in carl.service.networks.health()["team"]["detail"]
    body = os.urandom(2 * CHUNK)
    await team.anna.has(body, "not for Carl")
    await got(team.ben, body)

    # one who goes on without asking the room
    addresses = tuple(map(Address, said["addresses"]))
    now = NetworkFiles(team.ben.home.networks / "team").key()
    for folder, key, patience in (("old", KEY, replace(SOON, connect=2.0)), ("new", now, SOON)):
        async with kubo_node(tmp_path / folder, key, patience) as node:
            dialled = node.member.swarm.connect(PeerId(said["peer"]), addresses)
            if key is now:
                await dialled
            else:
                with pytest.raises(Unavailable):
                    await dialled
