"""What peers do who are asked for a page, whether they are in memory or behind the peer service."""

from dataclasses import replace

from dpm_core.artifacts import CHECKED_FIELD, ArtifactRef, Lane, Validators, Want, as_peers_have
from dpm_core.events import OriginKind
from dpm_core.origins import NotHeld, NotModified, Opened, Peers
from dpm_testkit.origin_conformance import drained

REF = ArtifactRef("test", "http://origin.example/", "page")
PAGE = b"<html>a page</html>" * 100
CHECKED_AT = 1_764_000_000
MEDIA_TYPE = "text/html; charset=utf-8"
MODIFIED = "Mon, 24 Nov 2025 15:00:00 GMT"
FIELDS = (("link", '</next>; rel="next"'), ("x-other", "is not kept here"))


def wanted(limit: int | None = 10_000) -> Want:
    """PAGE, as peers have it."""
    page = Want(
        REF, "page", "http://origin.example/page", Lane.INDEX, limit=limit, fresh_for=60.0, keeps=("link",)
    )
    asked = as_peers_have(page)
    assert asked is not None
    return asked


class PagesSuite:
    """Inherit, and say by the fixture ``peers`` how to make peers of which one has PAGE, as of CHECKED_AT.

    Its media type is MEDIA_TYPE, its Last-Modified MODIFIED, its fields are FIELDS.
    """

    async def test_they_send_the_page_and_say_what_upstream_said(self, peers: Peers) -> None:
        opened = await peers.open(wanted())
        assert isinstance(opened, Opened)
        assert (opened.offset, opened.length, opened.media_type) == (0, len(PAGE), MEDIA_TYPE)
        assert opened.validators.last_modified == MODIFIED
        assert opened.source.kind is OriginKind.PEER
        assert dict(opened.fields) == {"link": FIELDS[0][1], CHECKED_FIELD: str(CHECKED_AT)}
        assert await drained(opened) == PAGE

    async def test_they_send_it_whole_though_a_part_is_here(self, peers: Peers) -> None:
        first = await peers.open(wanted())
        assert isinstance(first, Opened)
        await first.body.close()
        opened = await peers.open(wanted(), 100, first.validators)
        assert isinstance(opened, Opened)
        assert (opened.offset, opened.validators) == (0, first.validators)
        assert await drained(opened) == PAGE

    async def test_they_confirm_what_is_held(self, peers: Peers) -> None:
        first = await peers.open(wanted())
        assert isinstance(first, Opened)
        await first.body.close()
        assert isinstance(await peers.open(wanted(), 0, first.validators), NotModified)
        other = await peers.open(wanted(), 0, Validators('"another"'))
        assert isinstance(other, Opened)
        await other.body.close()

    async def test_they_have_no_other_page(self, peers: Peers) -> None:
        answer = await peers.open(replace(wanted(), page_of="0" * 32))
        assert isinstance(answer, NotHeld)
        assert answer.status == 404

    async def test_a_page_beyond_the_limit_is_none(self, peers: Peers) -> None:
        assert isinstance(await peers.open(wanted(limit=len(PAGE) - 1)), NotHeld)
        opened = await peers.open(wanted(limit=len(PAGE)))
        assert isinstance(opened, Opened)
        await opened.body.close()
