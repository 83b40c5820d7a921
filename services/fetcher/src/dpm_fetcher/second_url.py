"""An origin that is asked for what it has not at a want's URL at the other one that the want has."""

from dataclasses import replace

from dpm_core.artifacts import Validators, Want
from dpm_core.digests import Digest
from dpm_core.origins import NotHeld, NotModified, Opened, Origin


class SecondUrl:
    """Port Origin over ``origin``, for one transfer of a want that has another URL.

    ``missing`` is what it said of the first URL, where its last answer was about the other one.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self.missing: NotHeld | None = None

    async def open(
        self, want: Want, offset: int = 0, held: Validators | None = None, digests: tuple[Digest, ...] = ()
    ) -> Opened | NotModified | NotHeld:
        """See :class:`dpm_core.origins.Origin`."""
        answer = await self._origin.open(want, offset, held, digests)
        self.missing = answer if isinstance(answer, NotHeld) else None
        if self.missing is None:
            return answer
        return await self._origin.open(replace(want, url=want.otherwise), offset, held, digests)
