"""A node in containers where nothing can be mounted: it serves from the store, in volumes of the engine."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.patience import soon
from dpm_testkit.stack import Stack, bridge_address, docker, running_stack

pytestmark = [
    pytest.mark.containers,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

BODY = bytes(range(256)) * 8192
MANY = 1024 * 1024
"""Bytes that are shown before the end is there."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running(host=await bridge_address()) as server:
        server.add("pip", File("pip-1.tar.gz", b"what every index has"))
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(upstream: PackageServer) -> AsyncIterator[Stack]:
    files = ("compose.yaml", "compose.nofuse.yaml")
    async with running_stack(*files, DPM_PYPI_UPSTREAM=upstream.url) as stack:
        yield stack


async def test_it_streams_a_file_while_it_grows_and_serves_it_again_from_the_store(
    stack: Stack, upstream: PackageServer
) -> None:
    file = upstream.add("large", File("large-1.tar.gz", BODY, hold_after=len(BODY) - 300_000))
    url = f"{stack.index}files/{upstream.url.split('/')[2]}/packages/large/{file.name}"
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{stack.index}large/") as page:
            assert page.status == 200
        async with client.get(url) as answer:
            first = await soon(asyncio.create_task(answer.content.readexactly(MANY)))
            assert not file.release.is_set()
            file.release.set()
            rest = await soon(asyncio.create_task(answer.read()))
        assert hashlib.sha256(first + rest).hexdigest() == file.sha256
        async with client.get(url) as answer:
            assert await answer.read() == BODY
    assert upstream.asked[f"/packages/large/{file.name}"] == 1


async def test_images_have_a_port_of_their_own(stack: Stack) -> None:
    async with aiohttp.ClientSession() as client, client.get(stack.registry) as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith(f'Bearer realm="{stack.registry}token"')


async def test_nothing_is_mounted_and_nobody_may_mount(stack: Stack) -> None:
    containers = await stack.inspect()
    assert "fusefs-1" not in containers
    for name, told in containers.items():
        assert not told["HostConfig"]["Devices"], name
        assert "SYS_ADMIN" not in (told["HostConfig"]["CapAdd"] or []), name
        assert not [each["Source"] for each in told["Mounts"] if each["Type"] == "bind"], name
    assert stack.project not in Path("/proc/mounts").read_text()


async def test_doctor_says_which_form_runs_and_why(stack: Stack) -> None:
    told = await stack.compose("run", "--rm", "--no-deps", "doctor")
    assert "form nofuse: the settings have fuse = false, so clients are served from the store" in told
    assert "Nothing is wrong" in told, told


async def test_down_leaves_the_volumes_alone(stack: Stack) -> None:
    await stack.compose("down")
    assert await stack.inspect() == {}
    volumes = await docker(
        "volume", "ls", "--quiet", "--filter", f"label=com.docker.compose.project={stack.project}"
    )
    assert f"{stack.project}_home" in volumes.split()
