"""A private archive of Debian packages on a node: for whom it is, for whom not, and where its password goes."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from dpm_testkit.apt_client import AptClient
from dpm_testkit.apt_repository import AptlyRepository, publisher
from dpm_testkit.debs import Deb
from dpm_testkit.file_server import file_server
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import PackageServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

NODES, CLIENTS = "node:the-nodes-s3cr3t", "me:the-clients-s3cr3t"


@dataclass(frozen=True)
class World:
    node: Node
    archive: PackageServer
    keyring: Path

    @property
    def host(self) -> str:
        return self.archive.url.split("/")[2]

    def machine(self, folder: Path, password: str = "") -> AptClient:
        """A machine that has this password for the archive, or none."""
        apt = AptClient("bookworm", folder)
        apt.trusts(self.keyring)
        apt.sources(f"deb http://{self.host}/debian stable main")
        proxy = self.node.address("gateway-apt")
        apt.configures("80dpm", f'Acquire::http::Proxy "{proxy}";')
        auth = apt.changed / "etc/apt/auth.conf"
        user, _, secret = password.partition(":")
        auth.write_text(f"machine http://{self.host} login {user} password {secret}\n" if password else "")
        return apt


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """An archive that gives to none without a password, and a node that has one."""
    async with file_server(tmp_path_factory.mktemp("site")) as server, publisher(server.served.parent) as made:
        repository = AptlyRepository(made, server.served / "aptly")
        await repository.add(Deb("hello"))
        await repository.publish()
        async with PackageServer().running() as archive:
            archive.passwords = {NODES, CLIENTS}
            folder = server.served / "aptly"
            for place, _, names in os.walk(folder, followlinks=True):
                for each in (Path(place) / name for name in names):
                    path = f"/debian/{each.relative_to(folder)}"
                    archive.bodies[path] = ("application/octet-stream", each.read_bytes())
            root = tmp_path_factory.mktemp("n")
            (root / "secret").write_text(f"{NODES}\n")
            host = archive.url.split("/")[2]
            (root / "dpm.toml").write_text(f"[apt.hosts.'{host}']\ncredentials = 'file:{root}/secret'\n")
            async with running_node(root, apt_fresh_seconds="300") as node:
                yield World(node, archive, made.keyring)


async def test_who_has_a_token_of_the_node_installs_from_it(world: World, tmp_path: Path) -> None:
    token = tmp_path / "token"
    await world.node.dpm("token", "realm", f"apt/{world.host}", "ci", "--output", str(token))
    apt = world.machine(tmp_path / "apt", f"ci:{token.read_text().strip()}")
    await apt.update()
    await apt.apt_get("install", "hello")
    assert await apt.installed() == {"hello": "1.0"}


async def test_who_has_a_password_that_the_archive_takes_installs_from_it(world: World, tmp_path: Path) -> None:
    apt = world.machine(tmp_path, CLIENTS)
    await apt.update()
    await apt.apt_get("install", "hello")


@pytest.mark.parametrize("password", ["", "me:wrong"])
async def test_nobody_else_gets_anything_though_it_is_held(world: World, tmp_path: Path, password: str) -> None:
    apt = world.machine(tmp_path, password)
    assert "401" in await apt.update(fails=True)
    gateway = world.node.address("gateway-apt")
    user, _, secret = password.partition(":")
    async with httpx.AsyncClient(auth=(user, secret) if password else None) as asking:
        for path in world.archive.asked:
            assert (await asking.get(f"{gateway}{world.host}{path}")).status_code == 401, path
    assert any(path.endswith(".deb") for path in world.archive.asked)


async def test_no_password_stands_in_log_or_events(world: World) -> None:
    told = [world.node.home.logs, world.node.home.root / "nats", world.node.home.root / "catalog"]
    for file in (each for folder in told for each in folder.rglob("*") if each.is_file()):
        assert b"s3cr3t" not in file.read_bytes(), file
