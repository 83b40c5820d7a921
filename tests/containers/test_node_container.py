"""A whole node in one container, the same as ``dpm up``."""

import asyncio
import os
import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dpm_testkit.crate_registry import CrateRegistry
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.plugged import install
from dpm_testkit.stack import ROOT, bridge_address, docker, healthy

os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
from testcontainers.core.container import DockerContainer

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]

IMAGE = "dpm/node"
BODY = bytes(range(256)) * 1024
CRATES = 3143
PAGE = ROOT / "docs" / "reference" / "ecosystems.md"
PLUGIN = ROOT / "examples" / "ecosystem-cargo"
FUSE: dict[str, Any] = {
    "devices": ["/dev/fuse"],
    "cap_add": ["SYS_ADMIN"],
    "security_opt": ["apparmor=unconfined"],
}


@pytest.fixture
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running(host=await bridge_address()) as server:
        server.add("pip", File("pip-1.tar.gz", b"what every index has"))
        server.add("sampleproject", File("sampleproject-1.tar.gz", BODY))
        yield server


@pytest.fixture
async def volume() -> AsyncIterator[str]:
    name = f"dpm-test-{uuid.uuid4().hex[:8]}"
    await docker("volume", "create", name)
    yield name
    await docker("volume", "rm", name)


@contextmanager
def node(
    upstream: PackageServer,
    volume: str,
    settings: Mapping[str, str] | None = None,
    *,
    image: str = IMAGE,
    **given: Any,
) -> Iterator[DockerContainer]:
    """The image with one volume and its ports on the loopback, and whatever else is ``given`` to the container."""
    container = (
        DockerContainer(image)
        .with_volume_mapping(volume, "/var/lib/dpm", "rw")
        .with_envs(DPM_PYPI_UPSTREAM=upstream.url, DPM_OCI_UPSTREAM="none", **(settings or {}))
        .with_kwargs(**given)
    )
    for port in (3141, 3142, CRATES):
        container.ports[port] = ("127.0.0.1", None)  # type: ignore[index, assignment]  # as docker's own client takes it
    try:
        yield container.start()
    finally:
        container.stop()


async def address(container: DockerContainer, port: int = 3141, path: str = "simple/") -> str:
    """Where a port of the container is on this machine, once the node is healthy."""
    await healthy(name(container))
    return f"http://127.0.0.1:{container.get_exposed_port(port)}/{path}"


def name(container: DockerContainer) -> str:
    """The id of the container."""
    return str(container.get_wrapped_container().id)


async def get(index: str, upstream: PackageServer) -> bytes:
    """The one file, after its page."""
    file = f"files/{upstream.url.split('/')[2]}/packages/sampleproject/sampleproject-1.tar.gz"
    async with aiohttp.ClientSession(raise_for_status=True) as client:
        async with client.get(index + "sampleproject/"):
            pass
        async with client.get(index + file) as answer:
            return await answer.read()


async def test_one_image_and_one_volume_are_a_node(upstream: PackageServer, volume: str) -> None:
    with node(upstream, volume, **FUSE) as container:
        assert await get(await address(container), upstream) == BODY
        told = await docker("exec", name(container), "dpm", "doctor")
        assert "form fuse: clients are served through the mount" in told
        assert "Nothing is wrong" in told, told
        status = await docker("exec", name(container), "dpm", "status")
        assert "running" in status and "bypasses   0" in status
        await docker("stop", "--time", "30", name(container))
        assert await docker("inspect", "--format", "{{.State.ExitCode}}", name(container)) == "0\n"

    asked = upstream.asked.copy()
    with node(upstream, volume, **FUSE) as container:
        assert await get(await address(container), upstream) == BODY
    assert upstream.asked == asked


@pytest.mark.parametrize(
    ("given", "missing"),
    [({}, "/dev/fuse cannot be opened"), ({"devices": ["/dev/fuse"]}, "without the capability SYS_ADMIN")],
)
async def test_without_what_fuse_needs_it_says_what_to_pass(
    upstream: PackageServer, volume: str, given: dict[str, Any], missing: str
) -> None:
    with node(upstream, volume, **given) as container:
        assert await docker("wait", name(container)) == "1\n"
        _, told = await asyncio.to_thread(container.get_logs)
    assert missing in told.decode()
    assert "--device /dev/fuse --cap-add SYS_ADMIN" in told.decode()
    assert "DPM_FUSE=false" in told.decode()


async def test_it_serves_from_the_store_if_it_is_told_to(upstream: PackageServer, volume: str) -> None:
    with node(upstream, volume, {"DPM_FUSE": "false"}) as container:
        assert await get(await address(container), upstream) == BODY
        told = await docker("exec", name(container), "dpm", "doctor")
    assert "form nofuse" in told
    assert "Nothing is wrong" in told, told


async def test_an_image_made_from_the_nodes_has_an_ecosystem_more(
    upstream: PackageServer, volume: str, tmp_path: Path
) -> None:
    crate = tmp_path / "leaf-1.0.0.crate"
    crate.write_bytes(BODY)
    registry = CrateRegistry()
    registry.add(crate, "le/af/leaf")
    (dockerfile,) = re.findall(r"^```dockerfile\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "Dockerfile").write_text(dockerfile)
    await install(PLUGIN, "--target", tmp_path / "plugin")
    image = f"{volume}-crates"
    try:
        await docker("build", "--tag", image, str(tmp_path))
        async with registry.running(await bridge_address()):
            settings = {"DPM_CARGO_UPSTREAM": f"sparse+{registry.url}", "DPM_FUSE": "false"}
            with node(upstream, volume, settings, image=image) as container:
                url = await address(container, CRATES, "")
                async with aiohttp.ClientSession(raise_for_status=True) as client:
                    async with client.get(f"{url}config.json") as config:
                        led = (await config.json())["dl"]
                    async with client.get(f"{url}le/af/leaf") as page:
                        told = await page.json(content_type=None)
                    words = {"crate": "leaf", "version": "1.0.0", "sha256-checksum": told["cksum"]}
                    async with client.get(led.format(**words)) as answer:
                        assert await answer.read() == BODY
                assert "cargo" in await docker("exec", name(container), "dpm", "status")
    finally:
        await docker("image", "rm", "--force", image, check=False)
