"""An attempt on disk: its lock, its data, its state."""

from dpm_core.artifacts import ArtifactRef, Blob
from dpm_core.attempts import AttemptState


class DiskAttempt:
    """Port Attempt: ``incoming/<artifact-id>/<token>/``. Made by ``DiskBlobStore.begin``."""

    async def start(self, token: int, adopt: int | None = None) -> int:
        """Make the attempt visible under its token, going on from the data of the dead attempt ``adopt``."""
        raise NotImplementedError

    async def publish(self, state: AttemptState) -> None:
        """Let readers see this state."""
        raise NotImplementedError

    async def write(self, data: bytes) -> None:
        """Add the next bytes, hashing them in the same pass. Raises Unavailable if the disk cannot take them."""
        raise NotImplementedError

    async def restart(self) -> None:
        """Forget the bytes so far."""
        raise NotImplementedError

    async def store(self, state: AttemptState, artifact: ArtifactRef) -> tuple[Blob, AttemptState]:
        """Verify all digests, publish the verified state, and make the bytes a blob."""
        raise NotImplementedError

    async def close(self) -> None:
        """Release the lock."""
        raise NotImplementedError
