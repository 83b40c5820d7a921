"""Files that grow: waiting, withholding and the verdict on an attempt live here and only here."""

from dpm_core.attempts import AttemptState


class GrowingFile:
    """Port Growing over an attempt's folder. Made by ``DiskBlobStore.follow``."""

    @property
    def state(self) -> AttemptState:
        """The attempt's state as last seen, without waiting."""
        raise NotImplementedError

    def readable(self) -> int:
        """How many bytes may be read now without waiting; 0 for a failed or lost attempt."""
        raise NotImplementedError

    async def opened(self) -> AttemptState:
        """Wait until a byte may be read or the attempt is over, and return its state then.

        Raises AttemptLost if its writer has died or was replaced.
        """
        raise NotImplementedError

    async def read(self, offset: int, size: int) -> bytes:
        """At least one byte from ``offset``, waiting for it if need be; nothing only at the verified end.

        A read across the frontier returns the short part at once. Raises AttemptFailed (its ``failure`` says
        why), AttemptLost.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of it; may be called twice. A read that waits ends with AttemptLost."""
        raise NotImplementedError
