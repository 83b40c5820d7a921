"""How often a node speaks in a room: as often as its homeserver lets it, which it finds out with care."""

from dataclasses import dataclass, field

BURST = 5
FASTEST_SECONDS = 1.0
"""So many messages at once, and one more each so many seconds: what happens meanwhile is said together."""

SLOWEST_SECONDS = 10.0
"""No homeserver has it slower than that: half of what Synapse lets an account send by default."""

QUICKER, SLOWER = 0.7, 2.0
"""What the seconds become after a message that had waited for its turn and was taken, and after one too many."""


@dataclass
class Pace:
    """Turns to speak, at times in seconds; ``seconds`` is from one to the next once a burst is used up.

    It begins with the fastest: a homeserver that minds says so, and then it is learnt what it takes.
    """

    slowest: float = SLOWEST_SECONDS
    burst: int = BURST
    fastest: float = FASTEST_SECONDS
    seconds: float = field(init=False)
    _left: float = field(init=False)
    _since: float | None = None
    _waited: bool = False

    def __post_init__(self) -> None:
        self.seconds = self.fastest = min(self.fastest, self.slowest)
        self._left = float(self.burst)

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
            self.seconds, self._left = min(self.slowest, self.seconds * SLOWER), 0.0
        elif self._waited:
            self.seconds = max(self.fastest, self.seconds * QUICKER)
        self._waited = False
