"""Who still waits for what: gateways tell, and a big fetch that nobody wants any more is given up."""

from collections.abc import Callable

from dpm_core.errors import Invalid
from dpm_core.ports import Clock, Tap
from dpm_core.registry import from_json
from dpm_core.taps import WAITING, Waiting

PATIENCE_SECONDS = 30.0
"""After the last word that somebody waits, a fetch goes on so long."""

SMALL_BYTES = 64 * 1024 * 1024
"""Below this a fetch is always finished."""


class Waiters:
    """Remembers when each artifact was last waited for. ``connected`` says whether gateways can be heard."""

    def __init__(self, clock: Clock, connected: Callable[[], bool]) -> None:
        self._clock = clock
        self._connected = connected
        self._heard: dict[str, float] = {}
        self._deaf_at = clock.now()

    def expect(self, artifact_id: str) -> None:
        """A fetch begins: somebody asked for it just now."""
        self._heard[artifact_id] = self._clock.now()

    def forget(self, artifact_id: str) -> None:
        """The fetch is over."""
        self._heard.pop(artifact_id, None)

    def gone(self, artifact_id: str, written: int, length: int | None) -> bool:
        """Whether the fetch is to be given up, ``written`` of ``length`` bytes in.

        Never with the bus down or just back: silence means nothing then.
        """
        now = self._clock.now()
        if not self._connected():
            self._deaf_at = now
        if written < SMALL_BYTES and (length is None or length < SMALL_BYTES):
            return False
        if length is not None and written * 2 > length:
            return False
        return now - max(self._heard.setdefault(artifact_id, now), self._deaf_at) > PATIENCE_SECONDS

    def hear(self, message: bytes) -> None:
        """Take note of what a gateway told; what is malformed is passed over."""
        try:
            waiting = from_json(message, Waiting)
        except Invalid:
            return
        now = self._clock.now()
        self._heard.update(dict.fromkeys(waiting.artifacts, now))
        self._heard = {each: at for each, at in self._heard.items() if now - at < 10 * PATIENCE_SECONDS}

    async def listen(self, tap: Tap) -> None:
        """Hear all gateways, for ever."""
        async for message in tap.listen(WAITING):
            self.hear(message)
