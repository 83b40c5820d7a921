"""What every origin does, whether it asks memory, upstream or peers."""

from abc import abstractmethod
from dataclasses import replace

from dpm_core.artifacts import ArtifactRef, Lane, Validators, Want
from dpm_core.origins import NotHeld, NotModified, Opened, Origin

BODY = bytes(range(256)) * 700


async def drained(opened: Opened) -> bytes:
    """The whole body of an answer."""
    return b"".join([part async for part in opened.body])


class OriginSuite:
    """Inherit, and say how to make an origin that has BODY at the URL of ``want``."""

    @abstractmethod
    def want(self) -> Want:
        """Something that the origin under test has."""

    def missing(self) -> Want:
        """Something that it has not."""
        want = self.want()
        ref = ArtifactRef(want.ref.ecosystem, want.ref.upstream, "nothing")
        return replace(want, ref=ref, url=want.url + ".nothing", lane=Lane.BLOB)

    async def test_it_sends_what_it_has(self, origin: Origin) -> None:
        opened = await origin.open(self.want())
        assert isinstance(opened, Opened)
        assert (opened.offset, opened.length) == (0, len(BODY))
        assert await drained(opened) == BODY

    async def test_it_goes_on_from_an_offset(self, origin: Origin) -> None:
        first = await origin.open(self.want())
        assert isinstance(first, Opened)
        await first.body.close()
        opened = await origin.open(self.want(), 1000, first.validators)
        assert isinstance(opened, Opened)
        assert opened.offset == 1000
        assert opened.length == len(BODY)
        assert await drained(opened) == BODY[1000:]

    async def test_it_begins_anew_if_it_has_another_body_now(self, origin: Origin) -> None:
        opened = await origin.open(self.want(), 1000, Validators(etag='"of another body"'))
        assert isinstance(opened, Opened)
        assert opened.offset == 0
        assert await drained(opened) == BODY

    async def test_it_says_when_it_has_nothing(self, origin: Origin) -> None:
        answer = await origin.open(self.missing())
        assert isinstance(answer, NotHeld)
        assert answer.status == 404

    async def test_it_confirms_what_is_held(self, origin: Origin) -> None:
        first = await origin.open(self.want())
        assert isinstance(first, Opened)
        await first.body.close()
        answer = await origin.open(self.want(), 0, first.validators)
        assert isinstance(answer, (NotModified, Opened))
        if isinstance(answer, Opened):
            await answer.body.close()
