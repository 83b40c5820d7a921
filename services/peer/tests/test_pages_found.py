"""Pages of others: whose is taken, and what becomes of who lies about one."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from dpm_core.artifacts import CHECKED_FIELD, Validators
from dpm_core.cids import CHUNK
from dpm_core.errors import Unavailable
from dpm_core.inventory import SharedFile, SharedPage
from dpm_core.origins import NotHeld, Opened, Peers
from dpm_peer.page_finding import AHEAD_SECONDS
from dpm_runtime.peer_origin import PeerOrigin
from dpm_runtime.service import SystemClock
from dpm_testkit.little_service import Service, served
from dpm_testkit.memory_origin import Held, MemoryPeers
from dpm_testkit.memory_sharers import shared
from dpm_testkit.origin_conformance import drained
from dpm_testkit.pages_conformance import CHECKED_AT, FIELDS, MEDIA_TYPE, MODIFIED, PAGE, REF, PagesSuite, wanted

OLD, NEW = b"an old page", b"a new page"
LONG, OTHER = os.urandom(2 * CHUNK), os.urandom(2 * CHUNK)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with served() as service:
        yield service


@pytest.fixture
async def origin(service: Service) -> AsyncIterator[PeerOrigin]:
    async with PeerOrigin(service.socket) as origin:
        yield origin


def page_of(body: bytes, checked_at: int = CHECKED_AT) -> SharedPage:
    return SharedPage(REF, shared(body, MEDIA_TYPE), checked_at, Validators('"tag"', MODIFIED), FIELDS)


async def got(origin: PeerOrigin) -> tuple[str, bytes, int]:
    """Who gave the page, its body, and as of when it is."""
    opened = await origin.open(wanted(limit=None))
    assert isinstance(opened, Opened)
    body = await drained(opened)
    await opened.body.close()
    return opened.source.name, body, int(dict(opened.fields)[CHECKED_FIELD])


class TestTwin(PagesSuite):
    @pytest.fixture
    def peers(self) -> Peers:
        peers = MemoryPeers()
        peers.pages[REF.id] = Held(
            PAGE, media_type=MEDIA_TYPE, fields=FIELDS, modified=MODIFIED, checked_at=CHECKED_AT
        )
        return peers


class TestServed(PagesSuite):
    @pytest.fixture
    async def peers(self, service: Service, origin: PeerOrigin) -> Peers:
        await service.team.shows("anna", page_of(PAGE), PAGE)
        return origin


async def test_the_newest_is_taken_whoever_has_it(service: Service, origin: PeerOrigin) -> None:
    await service.team.shows("anna", page_of(OLD, CHECKED_AT - 60), OLD)
    ben = await service.team.shows("ben", page_of(NEW), NEW)
    await service.team.shows("cleo", page_of(OLD, CHECKED_AT - 90), OLD)
    assert await got(origin) == (ben.id, NEW, CHECKED_AT)


async def test_an_older_one_is_taken_if_the_newest_does_not_come(service: Service, origin: PeerOrigin) -> None:
    service.team.shown.append((service.team.member("away").id, page_of(NEW)))
    anna = await service.team.shows("anna", page_of(OLD, CHECKED_AT - 60), OLD)
    assert await got(origin) == (anna.id, OLD, CHECKED_AT - 60)


async def test_a_page_of_several_chunks_comes_whole(service: Service, origin: PeerOrigin) -> None:
    anna = await service.team.shows("anna", page_of(LONG), LONG)
    assert await got(origin) == (anna.id, LONG, CHECKED_AT)


async def test_an_empty_page_is_a_page(service: Service, origin: PeerOrigin) -> None:
    anna = await service.team.shows("anna", page_of(b""), b"")
    assert await got(origin) == (anna.id, b"", CHECKED_AT)


async def test_who_says_that_it_comes_from_the_future_is_passed_over(service: Service, origin: PeerOrigin) -> None:
    later = int(SystemClock().now() + AHEAD_SECONDS + 60)
    await service.team.shows("liar", page_of(NEW, later), NEW)
    assert isinstance(await origin.open(wanted()), NotHeld)
    anna = await service.team.shows("anna", page_of(OLD), OLD)
    assert (await got(origin))[0] == anna.id


async def test_who_advertises_another_digest_than_the_bytes_have_is_shut_out(
    service: Service, origin: PeerOrigin
) -> None:
    lie = replace(page_of(LONG), file=SharedFile(shared(LONG).sha256, len(LONG), shared(OTHER).root, MEDIA_TYPE))
    liar = await service.team.shows("liar", lie, OTHER)
    service.joins(liar, "liar")
    anna = await service.team.shows("anna", page_of(OLD, CHECKED_AT - 60), OLD)
    service.joins(anna, "anna")
    opened = await origin.open(wanted(limit=None))
    assert isinstance(opened, Opened)
    came = b""
    with pytest.raises(Unavailable):
        async for part in opened.body:
            came += part
    assert len(came) < len(OTHER)  # nobody can take it for a whole
    assert (service.strikes("liar"), service.strikes("anna")) == (1, 0)


async def test_nobody_is_blamed_for_what_a_page_says(service: Service, origin: PeerOrigin) -> None:
    anna = await service.team.shows("anna", page_of(b"no page at all"), b"no page at all")
    service.joins(anna, "anna")
    await got(origin)
    assert service.strikes("anna") == 0


@pytest.mark.parametrize("path", ["/pages/12", f"/pages/{'g' * 32}", f"/pages/{REF.id}?limit=x"])
async def test_what_is_no_page_is_said_to_be_none(service: Service, path: str) -> None:
    assert await service.asked(path) == 400


async def test_a_node_in_no_network_has_nobody_to_ask(service: Service) -> None:
    async with PeerOrigin(service.socket.with_name("nobody.sock")) as origin:
        assert isinstance(await origin.open(wanted()), NotHeld)
