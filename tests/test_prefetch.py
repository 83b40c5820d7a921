"""``dpm prefetch`` on a real node: what a lock file names is there before anybody asks for it."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer

pytestmark = pytest.mark.real

WHEEL = File("sample-1.0-py3-none-any.whl", b"the wheel" * 50_000, metadata=b"Name: sample\n")
SDIST = File("sample-1.0.tar.gz", b"the sdist" * 1000)


@pytest.fixture
async def upstream() -> AsyncIterator[PackageServer]:
    async with PackageServer().running() as server:
        server.add("sample", WHEEL)
        server.add("sample", SDIST)
        yield server


@pytest.fixture
async def node(upstream: PackageServer) -> AsyncIterator[Node]:
    async with running_node(pypi_upstream=upstream.url) as node:
        yield node


async def test_what_was_prefetched_is_held_and_upstream_is_asked_no_more(
    node: Node, upstream: PackageServer, tmp_path: Path
) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"sample==1.0 --hash=sha256:{WHEEL.sha256} --hash=sha256:{SDIST.sha256}\n")

    first = json.loads(await node.dpm("prefetch", str(lock), "--json"))
    assert (first["fetched"], first["held"], first["failed"]) == (1, 0, 0)
    assert first["fetched_bytes"] == len(WHEEL.body)
    asked = dict(upstream.asked)
    assert asked[f"/packages/sample/{WHEEL.name}.metadata"] == 1

    second = json.loads(await node.dpm("prefetch", str(lock), "--json", "--host", node.address()))
    assert (second["fetched"], second["held"]) == (0, 1)
    assert dict(upstream.asked) == asked

    every = await node.dpm("prefetch", str(lock), "--all")
    assert f"fetched  {SDIST.name}" in every and f"held     {WHEEL.name}" in every
    assert "1 fetched" in every.splitlines()[-1]


async def test_a_lock_file_whose_bytes_upstream_no_longer_has_is_a_failure(node: Node, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"sample==1.0 --hash=sha256:{hashlib.sha256(b'others').hexdigest()}\n")
    said = await node.dpm("prefetch", str(lock), check=False)
    assert "failed" in said and "the lock file names" in said
