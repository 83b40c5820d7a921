"""How often a node speaks in a room: as often as its homeserver lets it, which it finds out with care."""

from dataclasses import dataclass, field

BURST = 5
SLOWEST_SECONDS = 10.0
"""So many messages at once, and one more each so many seconds: half of what Synapse lets an account send."""

FASTEST_SECONDS = 1.0
"""Nobody speaks more often than that: what happens meanwhile is said together."""

QUICKER, SLOWER = 0.7, 2.0
"""What the seconds become after a message that had waited for its turn and was taken, and after one too many."""


@dataclass
class Pace:
    """Turns to speak, at times in seconds; ``seconds`` is from one to the next once a burst is used up."""

    seconds: float = SLOWEST_SECONDS
    burst: int = BURST
    fastest: float = FASTEST_SECONDS
    _left: float = field(init=False)
    _since: float | None = None
    _waited: bool = False

    def __post_init__(self) -> None:
        self._left = float(self.burst)
        self._slowest = self.seconds

    def wait(self, now: float) -> float:
        """Seconds until the next turn; 0 if it is now."""
        passed = 0.0 if self._since is None else max(0.0, now - self._since)
        self._left, self._since = min(self.burst, self._left + passed / self.seconds), now
        if self._left >= 1 - 1e-9:
            return 0.0
        self._waited = True
        return (1 - self._left) * self.seconds

    def said(self, *, limited: bool) -> None:
        """A turn was used; ``limited``: the homeserver let the message wait, or did not take it, for its limit."""
        self._left = max(0.0, self._left - 1)
        if limited:
            self.seconds, self._left = min(self._slowest, self.seconds * SLOWER), 0.0
        elif self._waited:
            self.seconds = min(self._slowest, max(self.fastest, self.seconds * QUICKER))
        self._waited = False
