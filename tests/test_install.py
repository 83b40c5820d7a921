"""The main job on real input: pip and uv install a package with all it needs through a fresh node.

It is a branch of what jupyterlab needs, with extras, compiled wheels and pure ones. `make soak` takes jupyterlab.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from dpm_runtime.machine.pip import machine_index
from dpm_testkit.ipfs import cids_of
from dpm_testkit.node import Node, running_node
from dpm_testkit.programs import INSTALLERS, output_of, without
from dpm_testkit.relay import Relay

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(900)]

PACKAGE = os.environ.get("INSTALL", "jupyter-events")
MODULE = PACKAGE.replace("-", "_")
FILES = {"jupyterlab": 60, "jupyter-events": 20}[PACKAGE]
"""It needs more than so many files."""


@pytest.fixture
async def upstream() -> AsyncIterator[Relay]:
    async with Relay(machine_index(os.environ, ())).running() as relay:
        yield relay


@pytest.fixture
async def node(upstream: Relay) -> AsyncIterator[Node]:
    async with running_node(pypi_upstream=upstream.url) as node:
        yield node


async def run(*command: str | Path, **more: str) -> str:
    """Run a client without this machine's own settings for pip and uv. Raises AssertionError if it fails."""
    alone = without(*INSTALLERS, PIP_CONFIG_FILE=os.devnull, UV_NO_CONFIG="1", **more)
    return await output_of(*command, folder=Path.cwd(), environment=alone)


class Clients:
    """pip and uv, each time with a fresh environment and without anything cached."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = 0

    def _fresh(self) -> Path:
        self._runs += 1
        return self._folder / f"run-{self._runs}"

    async def pip(self, index: str) -> None:
        """``pip install`` it into a fresh environment, with no cache."""
        environment = self._fresh()
        await run(sys.executable, "-m", "venv", "--without-pip", environment)
        python = environment / "bin" / "python"
        await run(
            sys.executable, "-m", "pip", "--python", python, "install", "--no-cache-dir", "--no-compile",
            "--index-url", index, PACKAGE,
        )  # fmt: skip
        await run(python, "-c", f"import {MODULE}")

    async def uv(self, index: str) -> None:
        """``uv pip install`` it into a fresh environment, with a fresh cache."""
        environment = self._fresh()
        uv = Path(sys.executable).with_name("uv")
        cache = str(self._fresh())
        await run(uv, "venv", "--python", sys.executable, environment, UV_CACHE_DIR=cache)
        python = environment / "bin" / "python"
        await run(
            uv, "pip", "install", "--python", python, "--index-url", index, PACKAGE,
            UV_CACHE_DIR=cache, UV_LINK_MODE="copy",
        )  # fmt: skip
        await run(python, "-c", f"import {MODULE}")


async def stop_for_good(node: Node, *services: str) -> None:
    """Stop services, and see that their processes are gone."""
    services_then = (await node.status())["services"]
    for service in services:
        await node.dpm("stop", service)
    for service in services:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(services_then[service]["pid"])
            assert process.status() == psutil.STATUS_ZOMBIE, f"{service} still runs"


async def test_a_package_comes_from_the_network_once_and_from_the_node_for_ever(
    node: Node, upstream: Relay, tmp_path: Path
) -> None:
    clients = Clients(tmp_path)

    await clients.pip(node.index)
    await clients.uv(node.index)
    assert len(upstream.files_asked) > FILES
    assert {path: count for path, count in upstream.files_asked.items() if count != 1} == {}

    asked = Counter(upstream.asked)
    await clients.uv(node.index)
    assert upstream.files_asked == Counter({path: n for path, n in asked.items() if path.startswith("/files/")})

    await upstream.stop()
    await clients.pip(node.index)

    status = await node.status()
    assert status["hits"] > 0
    stored = await all_stored(node, status["artifacts"])

    await stop_for_good(node, "nats", "fetcher")
    await clients.pip(node.index)
    await clients.uv(node.index)

    assert await node.metric("fusefs", "dpm_fuse_reads_total") > 0
    assert (await node.status())["bypasses"] == 0
    await every_cid_below_the_mount_is_that_of_ipfs(node, stored)


async def all_stored(node: Node, count: int) -> list[dict[str, Any]]:
    """The artifact-stored events of the ``count`` artifacts that are held."""
    seen: set[str] = set()

    def last(event: dict[str, Any]) -> bool:
        if event["event"] == "artifact-stored":
            seen.add(json.dumps(event["body"]["ref"]))
        return len(seen) == count

    return [event for event in await node.events(until=last) if event["event"] == "artifact-stored"]


async def every_cid_below_the_mount_is_that_of_ipfs(node: Node, stored: list[dict[str, Any]]) -> None:
    blobs = [event["body"]["blob"] for event in stored]
    assert len(blobs) > FILES
    paths = [node.home.mount / "cid" / blob["cid"] for blob in blobs]
    found = await asyncio.to_thread(cids_of, paths)
    assert found == [path.name for path in paths]
