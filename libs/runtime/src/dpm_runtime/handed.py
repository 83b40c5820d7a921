"""Credentials of clients, told for a fetch: in memory alone, under a handle, for the one upstream they are for."""

import time
from collections import OrderedDict
from collections.abc import Callable

KEPT_SECONDS = 3600.0
"""From when they were last told or shown: a large file may need a new token on its way."""

KEPT = 4_096
"""Handles that are known at a time."""


class Handed:
    """For each handle the credentials that were told last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[str, tuple[str, str, float]] = OrderedDict()

    def keep(self, handle: str, upstream: str, authorization: str) -> None:
        """Have the field ``authorization`` at hand, under ``handle``, for the upstream with this URL."""
        self._kept[handle] = (upstream, authorization, self._clock() + KEPT_SECONDS)
        self._kept.move_to_end(handle)
        while len(self._kept) > KEPT or self._stale():
            self._kept.popitem(last=False)

    def shown(self, handle: str, upstream: str) -> str | None:
        """What to show to an upstream, None if nothing was told under the handle, or for another upstream."""
        of, authorization, until = self._kept.get(handle, ("", "", 0.0))
        if of != upstream or self._clock() >= until:
            return None
        self.keep(handle, upstream, authorization)
        return authorization

    def _stale(self) -> bool:
        return bool(self._kept) and self._clock() >= next(iter(self._kept.values()))[2]
