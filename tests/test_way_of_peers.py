"""Pages of peers, while upstream is away: gateway and fetcher among memory twins."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpm_core.artifacts import ArtifactRef, Validators, Want, peers_checked_at
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import ArtifactStored, FetchRequested, OriginKind
from dpm_core.origins import NotHeld, NotModified, Opened
from dpm_gateway import peer_pages
from dpm_testkit.memory_origin import Held, MemoryOrigin
from dpm_testkit.memory_way import BODY, FILE, FILE_URL, INDEX, JSON, PRIVATE, World
from dpm_testkit.patience import eventually, soon, until

PAGE = "/simple/demo/"
REF = ArtifactRef("pypi", INDEX, "demo/")
AGE = 300


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A node in a network, whose upstream is away."""
    world = World(tmp_path, networked=True)
    world.origin.down = True
    yield world
    await world.close()


def page(*versions: str) -> bytes:
    """A project's page with these, each a wheel with BODY."""
    files = [
        {
            "filename": f"demo-{version}-py3-none-any.whl",
            "url": FILE_URL.replace("1.0", version),
            "hashes": {"sha256": hashlib.sha256(BODY).hexdigest()},
            "size": len(BODY),
        }
        for version in versions
    ]
    return json.dumps({"meta": {"api-version": "1.1"}, "name": "demo", "files": files}).encode()


def shown(world: World, body: bytes, *, age: float = AGE, ref: ArtifactRef = REF) -> Held:
    """A peer has this page, which upstream confirmed to it so many seconds ago."""
    checked_at = int(world.clock.now() - age)
    world.peers.pages[ref.id] = Held(body, media_type=JSON["Accept"], checked_at=checked_at)
    return world.peers.pages[ref.id]


async def names(world: World, **headers: str) -> list[str]:
    """The versions on the page as a client gets it."""
    answer = await world.get(PAGE, **headers)
    assert answer.status_code == 200, answer.text
    await world.folded()
    return [each["filename"].split("-")[1] for each in answer.json()["files"]]


async def test_what_nobody_here_has_comes_from_a_peer_index_and_file(world: World) -> None:
    shown(world, page("1.0"))
    answer = await world.get(PAGE)
    assert answer.status_code == 200
    assert answer.headers["cache-status"] == "dpm; fwd=miss; stored; detail=peer"
    assert AGE <= int(answer.headers["age"]) < AGE + 60
    world.peers.has(FILE_URL, BODY)
    file = await world.get(FILE)
    assert (file.status_code, file.content) == (200, BODY)
    stored = [each for each in world.log.events if isinstance(each, ArtifactStored)]
    assert [(each.source.kind, each.vouched) for each in stored] == [
        (OriginKind.PEER, False),
        (OriginKind.PEER, True),
    ]


async def test_what_is_held_of_a_peer_is_shown_again(world: World) -> None:
    shown(world, page("1.0"))
    await names(world)
    world.peers.down = True
    world.clock.ahead += 60
    answer = await world.get(PAGE)
    assert answer.headers["cache-status"].startswith("dpm; hit; ttl=")
    assert answer.headers["cache-status"].endswith("; detail=peer")


async def test_peers_are_not_asked_while_upstream_answers(world: World) -> None:
    world.origin.down = False
    shown(world, page("2.0"), age=0)
    world.publish()
    assert await names(world) == ["1.0"]
    assert world.peers.asked == []


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
async def test_what_upstream_says_that_it_does_not_give_is_not_asked_of_peers(world: World, status: int) -> None:
    world.origin.down = False
    if status not in (404, 410):
        world.origin.has(INDEX + "demo/", b"").for_strangers = status
    shown(world, page("1.0"))
    assert (await world.get(PAGE)).status_code >= 400
    assert world.peers.asked == []


async def test_an_upstream_that_asks_to_be_left_alone_is_not_away(world: World) -> None:
    world.origin.down = False
    shown(world, page("1.0"))
    world.origin.fails_at[INDEX + "demo/"] = Unavailable("too many", status=429, retry_after=30.0)
    assert (await world.get(PAGE)).status_code == 429
    assert world.peers.asked == []


async def test_an_upstream_that_fails_by_itself_is_away(world: World) -> None:
    world.origin.down = False
    shown(world, page("1.0"))
    world.origin.fails_at[INDEX + "demo/"] = Unavailable("bad gateway", status=502)
    assert await names(world) == ["1.0"]


async def test_what_is_private_is_not_asked_of_peers(world: World) -> None:
    shown(world, page("1.0"), ref=ArtifactRef("pypi", PRIVATE, "demo/"))
    answer = await world.get("/acme/simple/demo/", Authorization="Basic dG9rZW46dG9rZW4=")
    assert answer.status_code == 503
    assert world.peers.asked == []


async def test_a_page_of_upstreams_own_is_shown_unless_a_peers_is_newer(world: World) -> None:
    world.origin.down = False
    world.publish()
    assert await names(world) == ["1.0"]
    world.origin.down = True
    world.clock.ahead += 700
    shown(world, page("0.9"), age=800)
    answer = await world.get(PAGE)
    assert 'detail="upstream is away"' in answer.headers["cache-status"]
    assert await names(world) == ["1.0"]
    world.clock.ahead += 60
    shown(world, page("1.0", "1.1"), age=60)
    assert await names(world) == ["1.0", "1.1"]


async def test_upstream_is_asked_as_soon_as_it_is_back_and_its_word_counts(world: World) -> None:
    shown(world, page("6.6"), age=0)
    assert await names(world) == ["6.6"]
    world.publish()
    world.origin.down = False
    answer = await world.get(PAGE)
    assert answer.headers["cache-status"] == "dpm; fwd=miss; stored"
    assert await names(world) == ["1.0"]
    held = world.catalog.find(REF.id)
    assert held is not None and peers_checked_at(held.fields) is None


async def test_upstream_confirms_what_it_gave_itself_and_not_what_a_peer_did(world: World) -> None:
    """A peer may tell the ETag of other bytes."""
    world.origin.down = False
    world.publish()
    await names(world)
    world.origin.down = True
    world.clock.ahead += 700
    shown(world, page("6.6"), age=0)
    assert await names(world) == ["6.6"]
    world.origin.down = False
    assert (await world.get(PAGE)).headers["cache-status"] == "dpm; fwd=stale; fwd-status=304"
    assert await names(world) == ["1.0"]


async def test_peers_are_asked_now_and_then_for_a_newer_one(world: World) -> None:
    shown(world, page("1.0"))
    for _ in range(3):
        await names(world)
    assert len(world.peers.asked) == 1
    world.clock.ahead += 15
    await names(world)
    assert len(world.peers.asked) == 2
    assert sum(isinstance(each, ArtifactStored) for each in world.log.events) == 1  # it has not changed
    assert await names(world) == ["1.0"]
    shown(world, page("1.0", "1.1"), age=0)
    world.clock.ahead += 15
    assert await names(world) == ["1.0", "1.1"]


async def test_where_no_peer_has_it_they_are_asked_now_and_then(world: World) -> None:
    for _ in range(3):
        assert (await world.get(PAGE)).status_code == 503
    assert len(world.peers.asked) == 1


@pytest.mark.parametrize("body", [b"<html>nothing", b"{", b"\xff\xfe", b'{"meta": 1}'])
async def test_a_page_that_makes_no_sense_is_not_shown(world: World, body: bytes) -> None:
    shown(world, body)
    assert (await world.get(PAGE)).status_code == 503
    world.origin.down = False
    world.publish()
    assert await names(world) == ["1.0"]
    world.origin.down = True
    world.clock.ahead += 700
    shown(world, body, age=0)
    assert await names(world) == ["1.0"]


async def test_a_page_that_is_called_what_it_is_not_makes_no_sense(world: World) -> None:
    shown(world, page("1.0")).media_type = "image/png"
    assert (await world.get(PAGE)).status_code == 503


async def test_a_page_that_is_too_large_is_not_taken(world: World) -> None:
    shown(world, page("1.0") + b" " * (1 << 20))
    assert (await world.get(PAGE)).status_code == 503


async def test_a_page_that_upstream_confirmed_too_long_ago_is_not_shown(world: World) -> None:
    shown(world, page("1.0"), age=90_000)
    assert (await world.get(PAGE)).status_code == 503


async def test_a_node_in_no_network_asks_nobody(world: World) -> None:
    shown(world, page("1.0"))
    world.networked = False
    assert (await world.get(PAGE)).status_code == 503
    assert not any(isinstance(each, FetchRequested) and each.want.page_of for each in world.log.events)


class Silent(MemoryOrigin):
    """An upstream that says nothing until ``speaks`` is set."""

    def __init__(self, origin: MemoryOrigin) -> None:
        super().__init__()
        self.held, self.speaks = origin.held, asyncio.Event()

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Opened | NotModified | NotHeld:
        await self.speaks.wait()
        return await super().open(want, offset, held, digests)


@pytest.fixture
async def silent(world: World, monkeypatch: pytest.MonkeyPatch) -> Silent:
    """The upstream of ``world``, which says nothing for longer than that is waited for."""
    monkeypatch.setattr(peer_pages, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(peer_pages, "IMPATIENCE_SECONDS", 0.01)
    await world.kill_fetcher()
    silent = world.origin = Silent(world.origin)
    world.start_fetcher()
    return silent


async def test_an_upstream_that_says_nothing_is_away(world: World, silent: Silent) -> None:
    shown(world, page("1.0"))
    for _ in range(2):
        assert (await world.get(PAGE)).headers["cache-status"].endswith("detail=peer")
    world.publish()
    silent.speaks.set()

    async def speaks() -> bool:
        return "peer" not in (await world.get(PAGE)).headers["cache-status"]

    await eventually(speaks)


async def test_an_upstream_that_takes_its_time_is_waited_for_where_no_peer_has_more(
    world: World, silent: Silent
) -> None:
    world.publish()
    asking = asyncio.create_task(world.get(PAGE))
    await until(lambda: world.peers.asked)
    silent.speaks.set()
    answer = await soon(asking)
    assert (answer.status_code, answer.headers["cache-status"]) == (200, "dpm; fwd=miss; stored")
