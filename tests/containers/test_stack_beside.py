"""What may be run beside a node in containers: the bus for clients on its host, and the service of networks."""

import asyncio
import json
import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import nats
import pytest
import pytest_asyncio

from dpm_cli.ports import choose_free
from dpm_core.cids import CHUNK, CidHasher
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.networks import Network
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.box_keys import BoxKey
from dpm_peer.network_files import NetworkFiles
from dpm_testkit.kubo import kubo_node
from dpm_testkit.members import drained
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import PATIENCE, eventually, soon
from dpm_testkit.stack import Stack, bridge_address, running_stack

pytestmark = [pytest.mark.containers, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

EVENTS, SWARM = choose_free(), choose_free()
KEY = SwarmKey(secrets.token_bytes(32))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running(host=await bridge_address()) as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(upstream: PackageServer) -> AsyncIterator[Stack]:
    async with running_stack(
        "compose.yaml", "compose.events.yaml", "compose.peers.yaml",
        DPM_PYPI_UPSTREAM=upstream.url, DPM_NATS_PORT=str(EVENTS),
        DPM_PEER_ANNOUNCE="node.example", DPM_PEER_PORTS=str(SWARM),
    ) as stack:  # fmt: skip
        yield stack


async def test_a_key_made_in_a_container_reads_events_on_the_host_until_it_is_revoked(
    stack: Stack, upstream: PackageServer
) -> None:
    told = await stack.compose("run", "--rm", "-T", "token", "events", "ci")
    seed = re.search(r"^SU[A-Z2-7]{56}$", told, re.MULTILINE)
    assert seed, told
    closed = asyncio.get_running_loop().create_future()

    async def close() -> None:
        closed.set_result(None)

    client = await nats.connect(
        f"nats://127.0.0.1:{EVENTS}", nkeys_seed_str=seed[0], allow_reconnect=False, closed_cb=close
    )
    stored = await client.subscribe("dpm.evt.pypi.*.artifact-stored")
    await client.flush()
    upstream.add("six", File("six-1.0-py3-none-any.whl", b"six" * 1000))
    async with aiohttp.ClientSession() as session, session.get(f"{stack.index}six/") as answer:
        assert answer.status == 200
    assert b'"six"' in (await stored.next_msg(timeout=PATIENCE)).data
    assert "ci" in await stack.compose("run", "--rm", "-T", "token", "list")
    await stack.compose("run", "--rm", "-T", "token", "revoke", "ci")
    await soon(closed)


async def test_what_a_node_in_containers_holds_a_member_elsewhere_gets(
    stack: Stack, upstream: PackageServer, tmp_path: Path
) -> None:
    peer = joined(stack)
    await eventually(lambda: runs(stack))
    body = os.urandom(3 * CHUNK + 7)
    file = upstream.add("shared", File("shared-1.0-py3-none-any.whl", body))
    async with aiohttp.ClientSession() as session:
        link = f"{stack.index}files/{upstream.url.split('/')[2]}/packages/shared/{file.name}"
        async with session.get(f"{stack.index}shared/") as answer:
            assert answer.status == 200
        async with session.get(link) as answer:
            assert await answer.read() == body
    hasher = CidHasher()
    hasher.update(body)
    async with kubo_node(tmp_path, KEY) as elsewhere:
        await elsewhere.member.swarm.connect(await peer_id(peer), [Address(f"/ip4/127.0.0.1/tcp/{SWARM}")])
        assert await drained(await elsewhere.member.swarm.open(hasher.cid(), len(body))) == body


def joined(stack: Stack) -> NetworkFiles:
    """A network whose homeserver nobody answers at: the node's owner is in it from now on."""
    box = BoxKey.make()
    network = Network(
        "team", "!room:matrix.example", "http://127.0.0.1:1/", "@anna:matrix.example", "NODE", "token", {},
        box.public.hex(), box.private.hex(),
    )  # fmt: skip
    files = NetworkFiles(stack.home.networks / "team")
    files.folder.mkdir(parents=True)
    files.keep(network, KEY)
    owner = stack.home.networks.stat()
    for each in (files.folder, *files.folder.iterdir()):
        os.chown(each, owner.st_uid, owner.st_gid)
    return files


async def runs(stack: Stack) -> str | None:
    told = await stack.compose("run", "--rm", "-T", "network", "list", "--json")
    return told if '"running"' in told else None


async def peer_id(files: NetworkFiles) -> PeerId:
    return PeerId(json.loads(files.identity.read_text())["PeerID"])
