"""A node on a machine that has IPv6 alone: its upstream, its files, its clients, and the commands about them."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from dpm_testkit.node import Node, running_node
from dpm_testkit.own_network import own_network
from dpm_testkit.package_server import PackageServer
from dpm_testkit.programs import INSTALLERS, output_of, without
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

INDEX, FILES, NODE = "2001:db8::1", "2001:db8::2", "2001:db8::3"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[Node]:
    """A node whose index and files are on two hosts, neither of which has another address."""
    files = PackageServer()
    index = PackageServer()
    rocket = files.add("rocket", wheel("rocket", says="by IPv6"))
    with own_network(INDEX, FILES, NODE):
        async with files.running(host=FILES), index.running(host=INDEX):
            link = files.url.replace("/simple/", f"/packages/rocket/{rocket.name}")
            listed = {"filename": rocket.name, "url": link, "hashes": {"sha256": rocket.sha256}}
            page = {"meta": {"api-version": "1.1"}, "name": "rocket", "files": [listed], "versions": []}
            media_type = "application/vnd.pypi.simple.v1+json"
            index.bodies["/simple/rocket/"] = (media_type, json.dumps(page).encode())
            async with running_node(pypi_upstream=index.url, listen=NODE, insecure_lan="true") as node:
                yield node


async def test_a_client_installs_from_it(node: Node, tmp_path: Path) -> None:
    address = (await node.status())["addresses"]["pypi"]
    assert address.startswith(f"http://[{NODE}]:")
    await output_of(
        Path(sys.executable).with_name("uv"), "pip", "install", "--no-config", "--no-cache", "--target", tmp_path,
        "--default-index", address, "rocket", folder=tmp_path, environment=without(*INSTALLERS),
    )  # fmt: skip
    assert (tmp_path / "rocket.py").read_text() == "SAYS = 'by IPv6'\n"


async def test_it_goes_by_its_address_and_by_no_other(node: Node) -> None:
    address = (await node.status())["addresses"]["pypi"]
    async with httpx.AsyncClient(trust_env=False) as client:
        for host, status in ((f"[{NODE}]", 200), ("[2001:DB8:0::3]", 200), (f"[{INDEX}]", 400)):
            answer = await client.get(f"{address}rocket/", headers={"Host": host})
            assert answer.status_code == status, host


async def test_clients_are_pointed_at_it_by_its_address(node: Node) -> None:
    said = json.loads(await node.dpm("use", "uv", "--json"))
    assert said["index"] == (await node.status())["addresses"]["pypi"]


async def test_doctor_finds_nothing_wrong_with_the_network(node: Node) -> None:
    checks = json.loads(await node.dpm("doctor", "--json", check=False))["findings"]
    levels = {each["code"]: (each["level"], each["text"]) for each in checks}
    for code in ("DPM-UPSTREAM", "DPM-PORTS", "DPM-SERVICES"):
        assert levels[code][0] in ("ok", "warning"), levels[code]
