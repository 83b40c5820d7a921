"""What a file is: as its own bytes say, where they do."""

from dpm_core.artifacts import Want
from dpm_core.ecosystem import Ecosystem
from dpm_core.ports import Body


async def described(ecosystem: Ecosystem, want: Want, told: str, body: Body) -> str:
    """The media type that a file says of itself, else what was ``told`` of it, be it by a peer.

    Raises what reading raises; the body is closed then.
    """
    small = want.limit is not None and body.size <= want.limit
    if not (ecosystem.describes_itself and want.vouched and small):
        return told
    try:
        return ecosystem.media_type_in(want.ref, await body.read(0, body.size)) or told
    except BaseException:
        body.close()
        raise
