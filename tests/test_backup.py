"""A running node is backed up and restored on an empty machine, where it serves all it held without a network."""

import asyncio
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dpm_core.cids import CHUNK
from dpm_testkit.node import Node, running_node
from dpm_testkit.package_server import File, PackageServer
from dpm_testkit.programs import output_of

pytestmark = [pytest.mark.long, pytest.mark.real, pytest.mark.timeout(240)]

BODIES = {"small": os.urandom(5_000), "pinned": os.urandom(CHUNK), "large": os.urandom(3 * CHUNK + 7)}
MANY = {f"many-{number}": os.urandom(20_000) for number in range(30)}
GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "operations.md"
STALLED = os.urandom(4 * CHUNK)


def wheel(name: str) -> str:
    return f"{name.replace('-', '_')}-1.0-py3-none-any.whl"


@pytest.fixture
async def network() -> AsyncIterator[AsyncExitStack]:
    """What is closed when the network is cut."""
    async with AsyncExitStack() as network:
        yield network


@pytest.fixture
async def upstream(network: AsyncExitStack) -> PackageServer:
    server = await network.enter_async_context(PackageServer().running())
    for name, body in {**BODIES, **MANY}.items():
        server.add(name, File(wheel(name), body))
    server.add("stalled", File(wheel("stalled"), STALLED, hold_after=2 * CHUNK))
    return server


@asynccontextmanager
async def empty_machine(like: Node) -> AsyncIterator[Node]:
    """A node with the settings of another one, and no home yet."""
    root = Path(tempfile.mkdtemp(prefix="dpm-"))
    node = Node(root, {name: value for name, value in like.settings.items() if name != "DPM_HOME"})
    try:
        yield node
    finally:
        await node.dpm("down", check=False)
        shutil.rmtree(root, ignore_errors=True)


async def shelf_of(node: Node) -> dict[str, Any]:
    shelf: dict[str, Any] = json.loads(await node.dpm("store", "--limit", "1000", "--json"))
    return shelf


def uses(shelf: dict[str, Any]) -> dict[str, float]:
    return {item["name"]: item["used_at"] for item in shelf["unused"]}


async def test_what_a_running_node_held_is_served_by_a_restored_one_without_a_network(
    upstream: PackageServer, network: AsyncExitStack, tmp_path: Path
) -> None:
    async with running_node(pypi_upstream=upstream.url) as node:
        for name, body in BODIES.items():
            assert await node.package(name) == body
        await node.dpm("pin", "pinned-*")
        await node.dpm("token", "events", "a-reader", "--output", str(tmp_path / "credentials"))
        node.home.config.write_text("index_fresh_seconds = 1234\n")
        await node.dpm("stop", "gateway-pypi")  # tells what was used
        await node.dpm("start", "gateway-pypi")
        before = await shelf_of(node)

        stalled = asyncio.create_task(node.package("stalled"))
        await upstream.projects["stalled"][0].withheld.wait()
        fetching = asyncio.create_task(fetch_all(node))
        done = json.loads(await node.dpm("backup", str(tmp_path), "--json"))
        await fetching
        upstream.projects["stalled"][0].release.set()
        assert await stalled == STALLED
        history = await node.history()
        seeds = [key.read_bytes().strip() for key in node.home.keys.glob("*.nk")]
        await node.dpm("down")
        await network.aclose()

        file = Path(done["file"])
        assert file.parent == tmp_path and sorted(each.name for each in tmp_path.iterdir()) == [
            "credentials",
            file.name,
        ]
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert done["bytes"] == file.stat().st_size and done["left_out"] == 0
        packed = file.read_bytes()
        assert len(seeds) >= 5 and not any(seed in packed for seed in seeds)

        async with empty_machine(node) as other:
            restored = json.loads(await other.dpm("restore", str(file), "--json"))
            assert (restored["events"], restored["blobs"]) == (done["events"], done["blobs"])
            assert restored["bad"] == []
            assert "is not empty" in await other.dpm("restore", str(file), check=False)
            await other.dpm("up", "--detach")
            after = await shelf_of(other)
            held = {item["name"] for item in after["biggest"]}
            assert {wheel(name) for name in BODIES} <= held
            for name, body in {**BODIES, **MANY}.items():
                if wheel(name) in held:
                    assert await other.package(name) == body
            assert [item["name"] for item in after["pinned"]] == [wheel("pinned")]
            assert uses(before).items() <= uses(after).items()
            copied = await other.history()
            known = {each.sequence: each for each in history}
            assert len(copied) >= done["events"]
            assert all(known[each.sequence] == each for each in copied[: done["events"]])
            checked = json.loads(await other.dpm("store", "check", "--json"))
            assert (checked["bad"], checked["lost"]) == ([], [])
            assert "a-reader" in await other.dpm("token", "list")
            assert "1234" in other.home.config.read_text()
            leaked = [path for path in other.home.root.rglob("*") if not path.is_symlink() and wide(other, path)]
            assert leaked == []


def wide(node: Node, path: Path) -> bool:
    return node.home.mount not in (path, *path.parents) and bool(path.stat().st_mode & 0o077)


async def fetch_all(node: Node) -> None:
    for name, body in MANY.items():
        assert await node.package(name) == body


async def test_a_node_that_does_not_run_is_backed_up_too_and_without_blobs_it_fetches_anew(
    upstream: PackageServer, tmp_path: Path
) -> None:
    async with running_node(pypi_upstream=upstream.url) as node:
        assert await node.package("small") == BODIES["small"]
        await node.dpm("down")
        (node.home.networks / "team").mkdir(parents=True)
        (node.home.networks / "team" / "network.json").write_text("{}")
        file = tmp_path / "backup.tar"
        assert "events, 0 blobs" in await node.dpm("backup", str(file), "--without-blobs")
        assert "is there already" in await node.dpm("backup", str(file), check=False)
        async with empty_machine(node) as other:
            assert "must not run any more" in await other.dpm("restore", str(file))
            assert other.home.network_names == ["team"]
        async with empty_machine(node) as other:
            assert "team" not in await other.dpm("restore", str(file), "--without-networks")
            await other.dpm("up", "--detach")
            assert "peer" not in await other.services()
            assert (await shelf_of(other))["held"]["artifacts"] == 2
            assert await other.package("small") == BODIES["small"]
            assert upstream.asked[f"/packages/small/{wheel('small')}"] == 2


async def test_half_a_backup_restores_nothing_and_a_vault_is_filled_like_a_home(
    upstream: PackageServer, tmp_path: Path
) -> None:
    async with running_node(pypi_upstream=upstream.url) as node:
        assert await node.package("large") == BODIES["large"]
        file, half = tmp_path / "backup.tar", tmp_path / "half.tar"
        await node.dpm("backup", str(file))
        half.write_bytes(file.read_bytes()[: file.stat().st_size - CHUNK])
        async with empty_machine(node) as other:
            vault = tmp_path / "vault"
            other.settings["DPM_VAULT"] = str(vault)
            assert "the backup was cut short" in await other.dpm("restore", str(half), check=False)
            assert list(other.home.root.iterdir()) == list(vault.iterdir()) == []
            await other.dpm("restore", str(file))
            assert not (other.home.root / "nats").exists()
            await other.dpm("up", "--detach")
            assert await other.package("large") == BODIES["large"]
            await other.dpm("backup", str(tmp_path / "again.tar"))


async def test_the_commands_of_the_guide_back_a_node_up_and_restore_it(
    upstream: PackageServer, tmp_path: Path
) -> None:
    chapter = GUIDE.read_text().partition("\n## Backup\n")[2].partition("\n## ")[0]
    (script,) = re.findall(r"^```sh\n(.*?)^```", chapter, re.MULTILINE | re.DOTALL)
    async with running_node(pypi_upstream=upstream.url) as node, empty_machine(node) as other:
        assert await node.package("small") == BODIES["small"]
        script = script.replace("/var/backups/dpm", str(tmp_path)).replace("/srv/dpm", str(other.home.root))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        await output_of("bash", "-ec", script, folder=tmp_path, environment={**node.environment, "PATH": path})
        assert await other.package("small") == BODIES["small"]
