"""A node that speaks TLS by a CA of its own: clients that trust it install from it, and no others."""

import asyncio
import json
import os
import re
import shlex
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from dpm_cli.ports import choose_free
from dpm_testkit.docker_engine import running_engine
from dpm_testkit.image_clients import ImageUser
from dpm_testkit.images import image
from dpm_testkit.node import Node, running_node
from dpm_testkit.outside import Outside
from dpm_testkit.own_network import own_network
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import eventually
from dpm_testkit.programs import ended, without
from dpm_testkit.registry import Registry, docker_registry
from dpm_testkit.user import User
from dpm_testkit.wheels import wheel

pytestmark = [pytest.mark.real, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

NAME = "node.example"
BEYOND = "2001:db8::7"
"""Where the node is to whoever knows it by name: docker trusts everybody who is on the loopback."""
IMAGE, REGISTRY = "team/app:1", "registry.example"
GUIDE = (
    (Path(__file__).parent.parent / "docs" / "guides" / "networks.md").read_text().partition("\n## Clients by")[2]
)
ON_THE_NODE, ON_THE_CLIENT = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
PROJECT = """
[project]
name = "rover"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["rocket"]
"""
LARGE = os.urandom(3 * 1024 * 1024)


@dataclass
class World:
    """A node by https, and a client's copy of its CA. Images come from ``registry``."""

    node: Node
    ca: Path
    port: int
    registry: Registry


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    upstream, port = PackageServer(), choose_free()
    home, away = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("away")
    upstream.add("rocket", wheel("rocket", says="by TLS"))
    upstream.add("cargo", File("cargo-1.0.tar.gz", LARGE))
    make, begin = (shlex.split(line) for line in ON_THE_NODE.splitlines())
    assert begin == ["dpm", "up"]
    await Node(home, {"DPM_ALLOW_HOSTS": NAME}).dpm(*make[1:])
    with own_network(BEYOND):
        async with (
            upstream.running(),
            docker_registry(tmp_path_factory.mktemp("registry")) as registry,
            running_node(
                home, pypi_upstream=upstream.url, pypi_port=str(port), tls="true", allow_hosts=NAME,
                listen=f"127.0.0.1,{BEYOND}", oci_upstream=registry.url,
                oci__registries=json.dumps({REGISTRY: {"upstream": registry.url}}),
            ) as node,
        ):  # fmt: skip
            ca = away / "ca.pem"
            ca.write_bytes(node.home.ca.read_bytes())
            yield World(node, ca, port, registry)


async def run(*command: str | Path, **more: str) -> tuple[int, str]:
    """What a client on another machine ends with and says: it has none of this one's settings."""
    own = ("PIP_", "UV_", "DPM_", "SSL_", "REQUESTS_", "CURL_")
    return await ended(*command, folder=Path.cwd(), environment=without(*own, **more))


def program(name: str) -> Path:
    return Path(sys.executable).with_name(name)


async def test_pip_installs_once_dpm_has_told_it_of_the_ca_and_not_before(world: World, tmp_path: Path) -> None:
    place = f"127.0.0.1:{world.port}"
    pip = (sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-deps", "--target", tmp_path / "into")
    user = {"HOME": str(tmp_path), "PIP_RETRIES": "0"}
    status, said = await run(*pip, "--index-url", f"https://{place}/simple/", "rocket", **user)
    assert status != 0
    assert "CERTIFICATE_VERIFY_FAILED" in said or "certificate verify failed" in said, said
    command = shlex.split(ON_THE_CLIENT.replace(NAME, place).replace("ca.pem", str(world.ca)))
    status, said = await run(program(command[0]), *command[1:], **user, DPM_HOME=str(tmp_path / "none"))
    assert status == 0, said
    status, said = await run(*pip, "rocket", **user)
    assert status == 0, said
    assert (tmp_path / "into" / "rocket.py").read_text() == "SAYS = 'by TLS'\n"


async def test_uv_installs_with_the_ca_in_its_environment(world: World, tmp_path: Path) -> None:
    install = (program("uv"), "pip", "install", "--no-config", "--no-cache", "--target", tmp_path, "rocket")
    index = {"UV_DEFAULT_INDEX": f"https://localhost:{world.port}/simple/", "UV_HTTP_RETRIES": "0"}
    status, said = await run(*install, **index)
    assert status != 0
    assert "certificate" in said, said
    status, said = await run(*install, **index, SSL_CERT_FILE=str(world.ca))
    assert status == 0, said


@pytest.mark.parametrize("client", ["pdm", "poetry"])
async def test_pdm_and_poetry_lock_a_project_once_dpm_has_told_them_of_the_ca(
    world: World, client: str, tmp_path: Path
) -> None:
    async with Outside().running() as outside:
        user = User(tmp_path, outside, {"DPM_HOME": str(tmp_path / "none")})
        project = tmp_path / "project"
        project.mkdir()
        (project / "pyproject.toml").write_text(PROJECT)
        place = f"127.0.0.1:{world.port}"
        said = await user.runs(f"dpm use {client} --write --host {place} --ca {world.ca}; {client} lock", project)
    assert "rocket" in (project / f"{client}.lock").read_text(), said


async def test_clients_of_images_pull_once_dpm_has_told_them_of_the_ca_and_not_before(
    world: World, tmp_path: Path
) -> None:
    await world.registry.push("team/app", "1", image({"hello": b"by TLS"}))
    place = f"{NAME}:{world.node.address('gateway-oci').split(':')[2].strip('/')}"
    by_name = f"{place}/{REGISTRY}/{IMAGE}"
    async with Outside().running() as outside:
        user = ImageUser(tmp_path, outside, hosts={NAME: BEYOND})
        async with running_engine(user) as engine:
            for pull in (
                engine.docker("pull", by_name, fails=True),
                user.podman("pull", by_name, fails=True),
                engine.ctr("images", "pull", "--snapshotter", "native", by_name, fails=True),
                user.says("crane", "manifest", by_name, fails=True),
            ):
                assert "certificate signed by unknown authority" in await pull

            async def told(which: str, *more: str) -> None:
                arguments = ("--write", "--host", place, "--ca", world.ca)
                await user.says(program("dpm"), "use", which, *arguments, *more)

            registry = ("--registry", REGISTRY)
            await asyncio.gather(told("docker"), told("podman", *registry), told("containerd", *registry))
            engine.reload()

            async def reloaded() -> bool:
                return f"https://{place}/" in await engine.mirrors()

            await eventually(reloaded)
            outside.forget()
            name = f"{REGISTRY}/{IMAGE}"
            await engine.docker("pull", IMAGE)
            await engine.docker("pull", by_name)
            await user.podman("pull", name)
            await user.skopeo("copy", f"docker://{name}", f"dir:{tmp_path / 'copied'}")  # it reads podman's
            hosts = ("--hosts-dir", "/etc/containerd/certs.d")
            await engine.ctr("images", "pull", *hosts, "--snapshotter", "native", name)
            await user.says("crane", "manifest", by_name, SSL_CERT_FILE=str(world.ca))
            assert outside.asked == []


def client(world: World) -> httpx.AsyncClient:
    trusting = ssl.create_default_context(cafile=str(world.ca))
    return httpx.AsyncClient(base_url=f"https://127.0.0.1:{world.port}/", verify=trusting, trust_env=False)


async def test_files_and_their_ranges_come_whole(world: World) -> None:
    async with client(world) as from_it:
        page = (
            await from_it.get("simple/cargo/", headers={"Accept": "application/vnd.pypi.simple.v1+json"})
        ).json()
        url = f"simple/cargo/{page['files'][0]['url']}"
        assert (await from_it.get(url)).content == LARGE
        part = await from_it.get(url, headers={"Range": "bytes=1000000-2000000"})
        assert (part.status_code, part.content) == (206, LARGE[1_000_000:2_000_001])


async def test_status_doctor_and_prefetch_know_that_it_is_https(world: World, tmp_path: Path) -> None:
    status = await world.node.status()
    assert status["addresses"]["pypi"] == f"https://127.0.0.1:{world.port}/simple/"
    findings = json.loads(await world.node.dpm("doctor", "--json", check=False))["findings"]
    assert {each["code"]: each["level"] for each in findings}["DPM-TLS"] == "ok"
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("rocket==1.0\n")
    fetched = json.loads(await world.node.dpm("prefetch", str(wanted), "--json"))
    assert fetched["failed"] == 0


async def test_a_renewed_certificate_is_shown_by_the_running_node(world: World) -> None:
    renewed = json.loads(await world.node.dpm("tls", "renew", "--json"))["fingerprint"]

    async def shown() -> bool:
        trusting = ssl.create_default_context(cafile=str(world.ca))
        _, writer = await asyncio.open_connection("127.0.0.1", world.port, ssl=trusting, server_hostname=NAME)
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return sha256(certificate).hexdigest() == str(renewed).replace(":", "")

    await eventually(shown, pause=0.5)
