"""The service's socket as the fetcher asks it: files of others, doubts, and what is about to go."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from dpm_core.artifacts import Want
from dpm_core.cids import CHUNK, Cid
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.events import PeerJoined
from dpm_core.multiaddrs import PeerId
from dpm_core.origins import NotHeld, Opened, Origin, Stream
from dpm_peer.blame import Truth
from dpm_peer.serving import Parts, PeerDoor
from dpm_runtime.ops import Readiness, serve_ops
from dpm_runtime.peer_origin import PeerOrigin, PeerReferences
from dpm_testkit.little_service import Service, served
from dpm_testkit.memory_sharers import shared
from dpm_testkit.memory_swarm import MemoryKubo
from dpm_testkit.origin_conformance import BODY, drained
from dpm_testkit.patience import until
from dpm_testkit.peers_conformance import PeersSuite, wanted

LARGE = os.urandom(3 * CHUNK)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with served() as service:
        yield service


@pytest.fixture
async def peers(service: Service) -> AsyncIterator[PeerOrigin]:
    async with PeerOrigin(service.socket) as origin:
        yield origin


def want_of(body: bytes) -> Want:
    digest = Digest(f"sha256:{hashlib.sha256(body).hexdigest()}")
    return replace(wanted(), digests=(digest,), size=len(body))


class TestServedPeers(PeersSuite):
    @pytest.fixture
    async def origin(self, service: Service, peers: PeerOrigin) -> Origin:
        await service.team.holder("anna", BODY)
        return peers


async def test_an_answer_says_who_gave_it_and_what_it_is(service: Service, peers: PeerOrigin) -> None:
    anna = await service.team.holder("anna", LARGE)
    opened = await peers.open(want_of(LARGE))
    assert isinstance(opened, Opened)
    assert (opened.source.name, opened.media_type) == (anna.id, "text/x-wheel")
    assert await drained(opened) == LARGE


async def test_an_empty_file_is_a_file(service: Service, peers: PeerOrigin) -> None:
    await service.team.holder("anna", b"")
    opened = await peers.open(want_of(b""))
    assert isinstance(opened, Opened)
    assert (opened.length, await drained(opened)) == (0, b"")


async def test_before_the_networks_are_open_nobody_has_anything(service: Service) -> None:
    await service.team.holder("anna", BODY)
    door = PeerDoor()
    async with serve_ops(service.socket.with_name("early.sock"), Readiness(), lambda: b"", door.routes):
        early = service.socket.with_name("early.sock")
        async with PeerOrigin(early) as origin:
            assert isinstance(await origin.open(wanted()), NotHeld)
        with pytest.raises(Unavailable):
            await PeerReferences(early).drop([shared(BODY).cid])


class Stalling:
    """Port Swarm over another one: of a body ``stops`` bytes come, and what is ``stops`` is raised then."""

    def __init__(self, kubo: MemoryKubo, *, breaks: bool = False) -> None:
        self.opened = 0
        self.left = asyncio.Event()
        self.breaks = breaks
        self.silent = False
        self.peers, self.connect, self.disconnect = kubo.peers, kubo.connect, kubo.disconnect

    async def open(self, cid: Cid, size: int, offset: int = 0, holders: Sequence[PeerId] = ()) -> Stream:
        self.opened += 1
        if self.silent:
            try:
                await asyncio.Event().wait()
            finally:
                self.left.set()
        return _Half(self)


class _Half:
    def __init__(self, swarm: Stalling) -> None:
        self.swarm = swarm

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield LARGE[:CHUNK]
        if self.swarm.breaks:
            raise Unavailable("it broke off")
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.swarm.left.set()


async def test_a_body_that_breaks_off_is_no_body(service: Service, peers: PeerOrigin) -> None:
    await service.team.holder("anna", LARGE)
    service.team.swarm = Stalling(service.team.kubo, breaks=True)  # type: ignore[assignment]
    opened = await peers.open(want_of(LARGE))
    assert isinstance(opened, Opened)
    with pytest.raises(Unavailable):
        await drained(opened)


async def test_a_body_that_nobody_reads_is_wanted_no_more(service: Service, peers: PeerOrigin) -> None:
    await service.team.holder("anna", LARGE)
    service.team.swarm = stalling = Stalling(service.team.kubo)  # type: ignore[assignment]
    opened = await peers.open(want_of(LARGE))
    assert isinstance(opened, Opened)
    await opened.body.close()
    await until(stalling.left.is_set)


async def test_who_hangs_up_before_the_first_byte_harms_nobody(service: Service, peers: PeerOrigin) -> None:
    await service.team.holder("anna", LARGE)
    stalling = Stalling(service.team.kubo)
    stalling.silent = True
    service.team.swarm = stalling  # type: ignore[assignment]
    asking = asyncio.ensure_future(peers.open(want_of(LARGE)))
    await until(lambda: stalling.opened)
    asking.cancel()
    await until(lambda: any(service.finder._unanswered.values()))
    service.team.swarm = service.team.kubo
    opened = await peers.open(want_of(LARGE))
    assert isinstance(opened, Opened)
    assert await drained(opened) == LARGE


async def test_who_lied_is_shut_out_once_the_truth_is_known(service: Service, peers: PeerOrigin) -> None:
    liar = await service.team.holder("liar")
    service.register.record([PeerJoined(liar.id, "team", "@liar:example.org")])
    other = os.urandom(3 * CHUNK)
    await liar.give(service.team.lot(other))
    service.team.says(liar, replace(shared(LARGE), root=shared(other).root))
    settling = asyncio.ensure_future(service.doubts.settled())
    want = want_of(LARGE)
    opened = await peers.open(want)
    assert isinstance(opened, Opened)
    assert await drained(opened) == other
    true = shared(LARGE)
    service.truths[true.sha256] = Truth(true.cid, true.size)
    await peers.doubt(want)
    await until(lambda: service.register.peers.blame("team", "@liar:example.org").strikes)
    settling.cancel()


async def test_what_is_about_to_go_is_given_to_nobody_any_more(service: Service) -> None:
    lot = service.team.lot(LARGE)
    service.team.stored[lot.cid] = lot
    assert await service.team.shelf.give(lot.cid)
    await PeerReferences(service.socket).drop([lot.cid])
    assert not service.team.shelf.holds(lot.cid)
    assert not service.team.kubo.references


async def test_where_kubo_cannot_be_asked_files_stay(service: Service) -> None:
    lot = service.team.lot(LARGE)
    service.team.stored[lot.cid] = lot
    await service.team.shelf.give(lot.cid)
    service.team.kubo.down = True
    with pytest.raises(Unavailable):
        await PeerReferences(service.socket).drop([lot.cid])


async def test_without_a_service_nothing_is_referred_to(tmp_path: Path) -> None:
    await PeerReferences(tmp_path / "peer-0.sock").drop([shared(BODY).cid])


@pytest.mark.parametrize(
    "path",
    ["/blobs/123", f"/blobs/{'g' * 64}", f"/blobs/{'0' * 64}?size=x", f"/blobs/{'0' * 64}?size=-1"],
)
async def test_what_is_no_file_is_said_to_be_none(service: Service, path: str) -> None:
    assert await service.asked(path) == 400


@pytest.mark.parametrize("span", ["bytes=1-2", "bytes=-5", "lines=1-", "bytes=1-,5-", "bytes=x-"])
async def test_other_ranges_are_not_understood(service: Service, span: str) -> None:
    await service.team.holder("anna", BODY)
    path = f"/blobs/{shared(BODY).sha256.hex}?size={len(BODY)}"
    assert await service.asked(path, headers={"Range": span}) == 400
    assert await service.asked(path, headers={"Range": f"bytes={len(BODY)}-"}) == 400


@pytest.mark.parametrize("path", ["/doubts", "/dropped"])
@pytest.mark.parametrize("body", [b"", b"no JSON", b'{"sha256": "12"}', b'{"cids": ["x"]}', b'{"sha256": 3}'])
async def test_nonsense_is_refused(service: Service, path: str, body: bytes) -> None:
    assert await service.asked(path, data=body) == 400


async def test_it_is_said_how_each_network_does_and_looked_for_new_ones(service: Service) -> None:
    looked: list[bool] = []
    health = {"team": {"life": "running", "detail": ""}}
    service.door.open(
        Parts(
            service.finder,
            service.pages,
            service.doubts,
            lambda: [service.team],
            lambda: health,
            lambda: looked.append(True),
        )
    )
    connector = aiohttp.UnixConnector(str(service.socket))
    async with aiohttp.ClientSession("http://peer", connector=connector) as session:
        async with session.get("/networks") as answer:
            assert await answer.json() == health
        assert not looked
        async with session.post("/networks") as answer:
            assert await answer.json() == health
        assert looked
