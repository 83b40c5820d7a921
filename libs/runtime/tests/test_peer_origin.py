"""The peer service as an origin, over a socket on which a service of the test's own answers."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from dpm_core.errors import Unavailable
from dpm_core.events import OriginKind, Source
from dpm_core.origins import NotHeld, Opened, Origin
from dpm_runtime.peer_origin import PeerOrigin
from dpm_testkit.memory_origin import MemoryOrigin, MemoryPeers
from dpm_testkit.origin_conformance import BODY, drained
from dpm_testkit.peers_conformance import SHA256, PeersSuite, wanted


class Service:
    """A peer service that has BODY, until it is told otherwise. ``doubted`` is what it was told of."""

    def __init__(self) -> None:
        self.doubted: list[object] = []
        self.status = 200
        self.breaks_after: int | None = None

    async def blob(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["sha256"] != SHA256:
            raise web.HTTPNotFound
        if self.status != 200:
            return web.Response(status=self.status)
        begin = request.http_range.start or 0
        answer = web.StreamResponse(
            status=206 if begin else 200, headers={"Dpm-Source": "team", "Content-Type": "text/x-wheel"}
        )
        answer.content_length = len(BODY) - begin
        await answer.prepare(request)
        await answer.write(BODY[begin : self.breaks_after])
        if self.breaks_after is not None and request.transport is not None:
            request.transport.abort()
        return answer

    async def doubts(self, request: web.Request) -> web.Response:
        self.doubted.append(await request.json())
        return web.Response(status=204)

    @asynccontextmanager
    async def listening(self, socket: Path) -> AsyncIterator[None]:
        app = web.Application()
        app.add_routes([web.get("/blobs/{sha256}", self.blob), web.post("/doubts", self.doubts)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        try:
            yield
        finally:
            await runner.cleanup()


@pytest.fixture
def socket() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # a socket's path has 107 bytes at most: unix(7)
        yield Path(folder) / "peer-0.sock"


@pytest.fixture
async def service(socket: Path) -> AsyncIterator[Service]:
    service = Service()
    async with service.listening(socket):
        yield service


@pytest.fixture
async def peers(socket: Path, service: Service) -> AsyncIterator[PeerOrigin]:
    async with PeerOrigin(socket) as origin:
        yield origin


class TestMemoryPeers(PeersSuite):
    @pytest.fixture
    def origin(self) -> MemoryOrigin:
        origin = MemoryPeers()
        origin.has(wanted().url, BODY)
        return origin


class TestPeerOrigin(PeersSuite):
    @pytest.fixture
    def origin(self, peers: PeerOrigin) -> Origin:
        return peers


async def test_an_answer_says_which_peer_gave_it_and_what_it_is(peers: PeerOrigin) -> None:
    opened = await peers.open(wanted())
    assert isinstance(opened, Opened)
    assert (opened.source, opened.media_type) == (Source(OriginKind.PEER, "team"), "text/x-wheel")
    assert await drained(opened) == BODY


async def test_without_a_service_nobody_has_anything(socket: Path) -> None:
    async with PeerOrigin(socket) as origin:
        assert isinstance(await origin.open(wanted()), NotHeld)


async def test_a_service_that_died_is_unavailable(socket: Path) -> None:
    async with Service().listening(socket):
        pass
    socket.touch()
    async with PeerOrigin(socket) as origin:
        with pytest.raises(Unavailable):
            await origin.open(wanted())


async def test_what_has_another_size_is_another_file(peers: PeerOrigin) -> None:
    answer = await peers.open(replace(wanted(), size=len(BODY) + 1))
    assert isinstance(answer, NotHeld)


async def test_a_body_that_breaks_off_is_no_body(peers: PeerOrigin, service: Service) -> None:
    service.breaks_after = 1000
    opened = await peers.open(wanted())
    assert isinstance(opened, Opened)
    with pytest.raises(Unavailable):
        await drained(opened)


async def test_a_service_that_fails_is_unavailable(peers: PeerOrigin, service: Service) -> None:
    service.status = 500
    with pytest.raises(Unavailable):
        await peers.open(wanted())


async def test_the_service_is_told_of_wrong_bytes(peers: PeerOrigin, service: Service) -> None:
    await peers.doubt(wanted())
    assert service.doubted == [{"sha256": SHA256}]


async def test_that_a_service_cannot_be_told_harms_nobody(socket: Path) -> None:
    async with PeerOrigin(socket) as origin:
        await origin.doubt(wanted())
