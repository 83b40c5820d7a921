"""Blobs read from disk, each MiB checked against its hash before anybody sees it."""


class VerifiedFile:
    """Port Body over a blob's file. Made by ``DiskBlobStore.open``."""

    size: int

    async def read(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``, fewer only at the end. Raises Untrusted if the disk lies."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of it; may be called twice."""
        raise NotImplementedError
