"""For how long each member of a room has been silent, outages of our own homeserver not counted."""

from dpm_peer.room import Batch


class Attendance:
    """Counts from the batches of one ``follow``, all of them."""

    def __init__(self) -> None:
        self._silent: dict[str, float] = {}

    def hear(self, batch: Batch) -> None:
        """Count one more batch. Who is a member no more is forgotten."""
        spoke = {each.sender for each in batch.said}
        self._silent = {
            member: 0.0 if member in spoke else self._silent.get(member, 0.0) + batch.seconds
            for member in batch.members
        }

    def told(self, member: str, seconds: float) -> None:
        """The last that ``member`` said is so old, though it was heard only now."""
        self._silent[member] = max(0.0, seconds)

    def silence(self, member: str) -> float | None:
        """For how many seconds a member said nothing, in which it would have been heard; None for who is none."""
        return self._silent.get(member)

    def silent(self, seconds: float) -> frozenset[str]:
        """Members that said nothing for at least so long, in which they would have been heard."""
        return frozenset(member for member, silence in self._silent.items() if silence >= seconds)
