"""A private index on a node: for whom it is, for whom not, and that its credentials go nowhere else."""

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.programs import INSTALLERS, ended, without
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

NODES = "node:the-nodes-s3cr3t"
CLIENTS = "me:the-clients-s3cr3t"
SECRETS = [
    form
    for each in (NODES, CLIENTS)
    for form in (each.partition(":")[2].encode(), base64.b64encode(each.encode()))
]
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


@pytest.fixture
async def acme() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        server.passwords = {NODES, CLIENTS}
        server.add("acme-rocket", wheel("acme-rocket", says="acme"))
        server.add("acme-cargo", File("acme-cargo-1.0.tar.gz", os.urandom(3 * 1024 * 1024)))
        yield server


@pytest.fixture
async def public() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        server.add("demo", wheel("demo"))
        yield server


@pytest.fixture
async def node(acme: PackageServer, public: PackageServer, tmp_path: Path) -> AsyncIterator[Node]:
    secret = tmp_path / "credentials"
    secret.write_text(NODES + "\n")
    async with running_node(
        pypi_upstream=public.url,
        pypi__indexes__acme__upstream=acme.url,
        pypi__indexes__acme__owns="acme-*",
        pypi__indexes__acme__credentials=f"file:{secret}",
    ) as node:
        yield node


def client(node: Node, secret: str | None = None) -> httpx.AsyncClient:
    auth = httpx.BasicAuth(*secret.split(":", 1)) if secret else None
    return httpx.AsyncClient(base_url=node.address() + "acme/simple/", headers=JSON, auth=auth)


async def installed(folder: Path, index: str, package: str) -> tuple[int, str]:
    """What ``pip install`` ends with and says."""
    return await ended(
        Path(sys.executable).with_name("uv"), "pip", "install", "--no-config", "--no-cache", "--target", folder,
        "--default-index", index, package, folder=folder.parent, environment=without(*INSTALLERS),
    )  # fmt: skip


def holding_secrets(folder: Path) -> list[Path]:
    """The files below a folder in which one of the secrets stands."""
    files = [Path(where) / name for where, _, names in os.walk(folder) for name in names]
    return [file for file in files if file.is_file() and any(secret in file.read_bytes() for secret in SECRETS)]


async def test_whoever_has_a_token_of_the_node_installs_and_nobody_else(node: Node, tmp_path: Path) -> None:
    address = node.address().removeprefix("http://")
    status, said = await installed(tmp_path / "nobody", f"http://{address}acme/simple/", "acme-rocket")
    assert status != 0
    assert "401" in said or "nauthorized" in said or "credentials" in said
    token = (await node.dpm("token", "index", "acme", "ci")).splitlines()[0]
    status, said = await installed(tmp_path / "ci", f"http://ci:{token}@{address}acme/simple/", "acme-rocket")
    assert status == 0, said
    assert (tmp_path / "ci" / "acme_rocket.py").read_text() == "SAYS = 'acme'\n"
    assert "pypi/acme" in await node.dpm("token", "list")
    assert token not in await node.dpm("token", "list", "--json")
    await node.dpm("token", "revoke", "ci")
    async with client(node, f"ci:{token}") as late, asyncio.timeout(60):
        while (await late.get("acme-rocket/")).status_code == 200:
            pass
        assert (await late.get("acme-rocket/")).status_code == 401


async def test_whom_upstream_lets_in_the_node_lets_in(node: Node, acme: PackageServer) -> None:
    async with client(node, CLIENTS) as me, client(node, "me:wrong") as other, client(node) as nobody:
        for path in ("", "acme-rocket/", "acme-cargo/", "nothing/", "acme-cargo/-/127.0.0.1/any"):
            assert (await nobody.get(path)).status_code == 401
            assert (await other.get(path)).status_code == 401
        page = (await me.get("acme-cargo/")).json()
        url = f"acme-cargo/{page['files'][0]['url']}"
        assert (await me.get(url)).content == acme.projects["acme-cargo"][0].body
        assert (await other.get(url)).status_code == 401
        assert (await nobody.get(url)).status_code == 401
        assert (await nobody.head(url)).status_code == 401
        assert (await me.get("nothing/")).status_code == 404


async def test_no_secret_stands_in_any_file_of_the_home_nor_goes_elsewhere(
    node: Node, acme: PackageServer, public: PackageServer
) -> None:
    async with client(node, CLIENTS) as me:
        for path in ("acme-rocket/", "acme-cargo/", "nothing/"):
            await me.get(path)
        page = (await me.get("acme-cargo/")).json()
        assert (await me.get(f"acme-cargo/{page['files'][0]['url']}")).status_code == 200
        await httpx.AsyncClient(base_url=node.address()).get("simple/demo/", headers=JSON)
    assert any("authorization" in headers for _, headers in acme.headers)
    assert not any("authorization" in headers for _, headers in public.headers)
    events = await node.events(
        until=lambda event: "cargo-1.0" in str(event) and event["event"] == "artifact-stored"
    )
    stored = [event["body"] for event in events if event["event"] == "artifact-stored"]
    assert {body["private"] for body in stored if "acme" in body["name"]} == {True}
    await node.dpm("down")
    assert holding_secrets(node.home.root) == []


async def test_wrong_credentials_of_the_node_are_told_to_whoever_runs_it(node: Node, acme: PackageServer) -> None:
    acme.passwords = {CLIENTS}
    token = (await node.dpm("token", "index", "acme", "ci")).splitlines()[0]
    async with client(node, f"ci:{token}") as ci:
        answer = await ci.get("acme-rocket/")
    assert answer.status_code == 403
    assert "to this node's credentials" in answer.text
    assert "pypi acme: 127.0.0.1 answers 401" in await node.dpm("doctor", check=False)
