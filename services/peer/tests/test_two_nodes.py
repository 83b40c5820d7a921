"""Two nodes of one network, each with a Kubo of its own, and one Synapse."""

import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from dpm_core.cids import CHUNK
from dpm_core.events import PeerAdvertised, PeerJoined
from dpm_core.networks import Network
from dpm_core.origins import NotHeld, Opened
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.box_keys import BoxKey
from dpm_peer.matrix_link import Account, MatrixLink
from dpm_peer.matrix_room import MatrixRoom
from dpm_peer.room_keeping import create_room, join, register, registration_token
from dpm_runtime.service import SystemClock
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
    """Anna's and Ben's nodes; Anna had FIRST before Ben came."""

    anna: PeerNode
    ben: PeerNode


FIRST = os.urandom(3 * CHUNK + 7)


def described(account: Account, room: str) -> Network:
    box = BoxKey.make()
    return Network(
        "team", room, account.homeserver, account.user, account.device, account.access_token, {},
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
        invitation = await registration_token(keeper, time.time())
        bens = await register(await link(), "ben", secrets.token_urlsafe(), invitation, "a test")
        await MatrixRoom(keeper, room, CLOCK).invite(bens.user)
        await join(await link(bens), room)
        nodes = [
            await open.enter_async_context(peer_node(root / name, described(account, room), KEY, MemoryEventLog()))
            for name, account in (("a", annas), ("b", bens))
        ]
        await nodes[0].has(FIRST, "first")
        yield Team(*nodes)


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
    assert copied(team.ben) - before >= len(body)
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
