"""Homes that earlier versions left: opened, folded and served by this one (``golden/make.py`` made them)."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dpm_core.attempts import Phase
from dpm_core.events import lifetime
from dpm_core.registry import type_of
from dpm_runtime.bus_readers import readers
from dpm_runtime.home import Home
from dpm_runtime.store import DiskBlobStore
from dpm_runtime.tokens import tokens
from dpm_testkit.node import Node, running_node

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(each.stem for each in GOLDEN.glob("*.json"))
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}


@dataclass(frozen=True)
class Golden:
    """What a version left in ``home``, and what it said of it."""

    home: Home
    told: dict[str, Any]


@pytest.fixture(params=VERSIONS)
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    home = Home(tmp_path_factory.mktemp("g"))
    with tarfile.open(GOLDEN / f"{request.param}.tar.xz") as archive:
        archive.extractall(home.root)  # our own archive; Python 3.11.2 knows no filter
    return Golden(home, json.loads((GOLDEN / f"{request.param}.json").read_text()))


@asynccontextmanager
async def revived(golden: Golden) -> AsyncIterator[Node]:
    """A node on that home, long after, without its upstream."""
    settings = {"pypi_upstream": golden.told["upstream"], "stale_seconds": str(10**10)}
    async with running_node(golden.home.root, **settings) as node:
        yield node


def held(shelf: dict[str, Any]) -> dict[str, list[Any]]:
    return {each["id"]: [each["name"], each["cid"], each["size"], each["pinned"]] for each in shelf["biggest"]}


async def served(node: Node, golden: Golden) -> None:
    """Every page and file that was held is what it was."""
    for project, sha256 in golden.told["files"].items():
        assert hashlib.sha256(await node.package(project)).hexdigest() == sha256
    async with aiohttp.ClientSession(headers=JSON) as session, session.get(f"{node.index}evicted/") as answer:
        assert (await answer.json(content_type=None))["files"][0]["filename"] == "evicted-1.0-py3-none-any.whl"


def test_there_is_a_golden_home_of_every_released_layout() -> None:
    layouts = {json.loads((GOLDEN / f"{each}.json").read_text())["layout"] for each in VERSIONS}
    assert layouts == {1}
    assert all((GOLDEN / f"{each}.tar.xz").stat().st_size < 200_000 for each in VERSIONS)


def test_a_golden_home_holds_no_secret(golden: Golden) -> None:
    assert [each.name for each in golden.home.keys.iterdir()] == ["readers.json"]
    for file in golden.home.root.rglob("*"):
        if file.is_file():
            assert b"SUA" not in file.read_bytes()[:4], file  # how the seed of a user begins


async def test_blobs_attempts_and_tokens_of_then_are_read(golden: Golden) -> None:
    golden.home.prepare()
    assert [(each.name, each.realm) for each in tokens(golden.home)] == [("a-client", "pypi/private")]
    assert [each.name for each in readers(golden.home)] == ["a-reader"]
    async with DiskBlobStore(golden.home) as store:
        known = {cid for _, cid, _, _ in golden.told["held"].values()}
        for cid in store.cids():
            assert await store.check(cid) is None
            sidecar = store.sidecar(cid)
            assert sidecar is not None and sidecar.blob.cid == cid
            assert sidecar.blob.size == store.path(cid).stat().st_size
            known.discard(cid)
        assert not known
        artifact, token, size = golden.told["attempt"]
        view = store.view(artifact, token)
        assert view is not None
        assert (view.state.phase, view.written, view.locked) == (Phase.OPEN, size, False)


@pytest.mark.real
@pytest.mark.timeout(180)
async def test_a_golden_home_is_served_and_its_log_tells_what_it_told(golden: Golden) -> None:
    async with revived(golden) as node:
        assert held(json.loads(await node.dpm("store", "--limit", "1000", "--json"))) == golden.told["held"]
        lasting = [
            [each.sequence, type_of(each.event).name]
            for each in await node.history()
            if lifetime(each.event) is None
        ]
        assert lasting[: len(golden.told["events"])] == golden.told["events"]
        await served(node, golden)


@pytest.mark.real
@pytest.mark.timeout(180)
async def test_the_log_of_then_is_folded_anew_to_what_it_was(golden: Golden) -> None:
    shutil.rmtree(golden.home.catalog)
    shutil.rmtree(golden.home.facts)
    async with revived(golden) as node:
        await served(node, golden)
        assert held(json.loads(await node.dpm("store", "--limit", "1000", "--json"))) == golden.told["held"]


@pytest.mark.real
@pytest.mark.timeout(180)
async def test_the_store_of_then_seeds_a_log_that_was_lost(golden: Golden) -> None:
    shutil.rmtree(golden.home.nats)
    async with revived(golden) as node:
        await node.dpm("repair")
        await served(node, golden)
        assert held(json.loads(await node.dpm("store", "--limit", "1000", "--json"))) == golden.told["held"]
