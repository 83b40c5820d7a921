"""Several indexes on one node: pip and uv get each name from its owner, and from nobody else."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import PackageServer
from dpm_testkit.programs import INSTALLERS, ended, without
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


@pytest.fixture
async def public() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        server.add("demo", wheel("demo", says="public"))
        server.add("acme-rocket", wheel("acme-rocket", "9.0", says="somebody who took the name"))
        yield server


@pytest.fixture
async def acme() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        server.add("acme-rocket", wheel("acme-rocket", says="acme", requires=["acme-fuel"]))
        server.add("acme-fuel", wheel("acme-fuel", says="acme"))
        yield server


@pytest.fixture
async def node(public: PackageServer, acme: PackageServer) -> AsyncIterator[Node]:
    async with running_node(
        pypi_upstream=public.url, pypi__indexes__acme__upstream=acme.url, pypi__indexes__acme__owns="acme-*"
    ) as node:
        yield node


async def installed(folder: Path, index: str, *packages: str) -> tuple[int, str]:
    """What ``uv pip install`` of the packages ends with and says."""
    uv = Path(sys.executable).with_name("uv")
    return await ended(
        uv, "pip", "install", "--no-config", "--target", folder, "--default-index", index, *packages,
        folder=folder.parent, environment=without(*INSTALLERS, UV_CACHE_DIR=str(folder / "cache")),
    )  # fmt: skip


async def test_a_private_name_comes_from_its_index_and_is_unknown_on_the_public_one(
    node: Node, public: PackageServer, acme: PackageServer, tmp_path: Path
) -> None:
    status, said = await installed(tmp_path / "one", node.address() + "acme/simple/", "acme-rocket")
    assert status == 0, said
    assert (tmp_path / "one" / "acme_rocket.py").read_text() == "SAYS = 'acme'\n"
    assert (tmp_path / "one" / "acme_fuel.py").exists()
    status, said = await installed(tmp_path / "two", node.index, "acme-rocket")
    assert status != 0
    assert "acme-rocket was not found" in said
    async with httpx.AsyncClient(base_url=node.address()) as client:
        for path in (
            "simple/acme-rocket/",
            "simple/files/127.0.0.1/packages/acme-rocket/acme_rocket-9.0-py3-none-any.whl",
        ):
            assert (await client.get(path)).status_code == 404
        assert (await client.get("simple/Acme.Rocket/")).status_code == 301
    assert not any("acme" in path for path in public.asked)


async def test_indexes_are_never_merged(
    node: Node, public: PackageServer, acme: PackageServer, tmp_path: Path
) -> None:
    status, said = await installed(tmp_path / "one", node.address() + "acme/simple/", "demo")
    assert status != 0
    assert "demo was not found" in said
    status, said = await installed(tmp_path / "two", node.index, "demo")
    assert status == 0, said
    assert public.asked["/simple/demo/"] == 1
    assert acme.asked["/simple/demo/"] == 1


async def test_two_indexes_with_one_name_have_each_its_own_page(
    public: PackageServer, acme: PackageServer
) -> None:
    acme.add("demo", wheel("demo", "2.0", says="acme"))
    async with (
        running_node(pypi_upstream=public.url, pypi__indexes__acme__upstream=acme.url) as node,
        httpx.AsyncClient(base_url=node.address(), headers=JSON) as client,
    ):
        for prefix, version in (("simple", "1.0"), ("acme/simple", "2.0")):
            for _ in range(2):
                page = (await client.get(f"{prefix}/demo/")).json()
                assert [file["filename"] for file in page["files"]] == [f"demo-{version}-py3-none-any.whl"]
                file = await client.get(f"{prefix}/demo/" + page["files"][0]["url"])
                assert file.status_code == 200
        assert f"{node.address()}acme/simple/" in await node.dpm("status")
