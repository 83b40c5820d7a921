"""A node in a network: the service of networks runs beside the others, and nobody needs it."""

import json
import secrets

import psutil
import pytest

from dpm_cli.ports import choose_free
from dpm_core.networks import Network
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.box_keys import BoxKey
from dpm_peer.commands.own_homeserver import served
from dpm_peer.network_files import NetworkFiles
from dpm_runtime import unix_http
from dpm_runtime.settings import load
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually, until

pytestmark = pytest.mark.real


def described() -> Network:
    """A network whose homeserver nobody answers at."""
    box = BoxKey.make()
    return Network(
        "team", "!room:matrix.example", "http://127.0.0.1:1/", "@anna:matrix.example", "NODE", "token", {},
        box.public.hex(), box.private.hex(),
    )  # fmt: skip


async def node_serves_a_homeserver(node: Node) -> None:
    """It runs it beside its other services, and ends it with them."""
    assert "homeserver" not in await node.services()
    node.home.config.write_text(f"homeserver_port = {choose_free()}\n")
    async with served(load(home=node.home.root), "a test") as account:
        assert account.user.startswith("@keeper:")
    assert (await node.services())["homeserver"]["state"] == "running"
    synapse = psutil.Process(node.pid("homeserver")).children()
    await node.dpm("stop", "homeserver")
    assert synapse and not any(each.is_running() for each in synapse)


async def test_a_node_that_comes_into_a_network_serves_as_before(upstream: PackageServer) -> None:
    file = upstream.add("team", File("team-1.0-py3-none-any.whl", b"a wheel" * 100))
    port = str(choose_free())
    async with running_node(pypi_upstream=upstream.url, peer_listen="127.0.0.1", peer_ports=port) as node:
        assert "peer" not in await node.services()
        files = NetworkFiles(node.home.networks / "team")
        files.folder.mkdir(parents=True)
        files.keep(described(), SwarmKey(secrets.token_bytes(32)))
        await node.dpm("start", "peer")
        assert (await node.services())["peer"]["state"] == "running"

        async def runs() -> bool:
            _, body = await unix_http.request(node.home.socket("peer"), "/networks")
            return bool(json.loads(body)["team"]["life"] == "running")

        await eventually(runs)
        await node_serves_a_homeserver(node)
        peer = psutil.Process(node.pid("peer"))
        kubo = [each for each in peer.children(recursive=True) if each.name() == "ipfs"]
        assert len(kubo) == 1
        assert {each.laddr for each in kubo[0].net_connections("tcp")} == {("127.0.0.1", int(port))}
        assert 'go_goroutines{network="team"}' in await node.metrics("peer")
        assert await node.package("team") == file.body
    await until(lambda: not kubo[0].is_running())
