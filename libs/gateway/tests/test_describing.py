"""What a file is served as, where its bytes say what they are."""

from dataclasses import replace

import pytest

from dpm_core.artifacts import ArtifactRef, Lane, Want
from dpm_core.digests import Digest
from dpm_core.errors import Untrusted
from dpm_gateway.describing import described
from dpm_runtime.mounted_files import LoadedBody
from dpm_testkit.made_up import MadeUp

BODY = b"text/x-true\nand more"
WANT = Want(
    ArtifactRef("made-up", "http://shop.example/", "list"),
    "list",
    "http://shop.example/list",
    Lane.INDEX,
    (Digest(f"sha256:{'0' * 64}"),),
    limit=100,
)


class Speaking(MadeUp):
    """Its files begin with what they are."""

    describes_itself = True

    def media_type_in(self, file: ArtifactRef, body: bytes) -> str:
        return body.split(b"\n")[0].decode() if body.startswith(b"text/") else ""


class Rotten(LoadedBody):
    """A body about which the disk lies."""

    closed = False

    async def read(self, offset: int, size: int) -> bytes:
        raise Untrusted("other bytes")

    def close(self) -> None:
        self.closed = True


async def test_what_the_bytes_say_counts_more_than_what_is_told() -> None:
    assert await described(Speaking(), WANT, "text/x-lie", LoadedBody(BODY)) == "text/x-true"


@pytest.mark.parametrize(
    ("want", "body"),
    [
        (WANT, b"nothing"),
        (replace(WANT, limit=None), BODY),
        (replace(WANT, limit=5), BODY),
        (replace(WANT, digests=()), BODY),
    ],
)
async def test_what_is_told_counts_of_what_is_large_or_says_nothing(want: Want, body: bytes) -> None:
    assert await described(Speaking(), want, "text/x-told", LoadedBody(body)) == "text/x-told"


async def test_a_file_of_an_ecosystem_without_such_is_not_read() -> None:
    assert await described(MadeUp(), WANT, "text/x-told", Rotten(BODY)) == "text/x-told"


async def test_a_body_that_cannot_be_read_is_closed() -> None:
    body = Rotten(BODY)
    with pytest.raises(Untrusted):
        await described(Speaking(), WANT, "", body)
    assert body.closed
