"""What was served, remembered until the fetchers can be told of it: a hit costs one entry in a dict."""

from collections.abc import Iterator

from dpm_core.ports import Clock, Tap
from dpm_core.taps import USED, Used

PART = 1_000
"""Artifacts told of in one message: well below what the bus takes."""


class Marks:
    """The last use of each artifact that this process has served since it told of it."""

    def __init__(self, gateway: str, clock: Clock) -> None:
        self._gateway = gateway
        self._clock = clock
        self._served: dict[str, float] = {}

    def note(self, artifact_id: str) -> None:
        """The artifact is served now."""
        self._served[artifact_id] = self._clock.now()

    async def tell(self, tap: Tap) -> None:
        """Tell of all that was noted, and forget it. With the bus down it would be lost: tell it later."""
        for part in self._parts():
            await tap.tell(USED, Used(self._gateway, part))

    def _parts(self) -> Iterator[dict[str, float]]:
        served, self._served = list(self._served.items()), {}
        for start in range(0, len(served), PART):
            yield dict(served[start : start + PART])
