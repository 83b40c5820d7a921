"""The blob store on disk: what readers and its one writer see of it."""

from collections.abc import Iterator
from pathlib import Path

from dpm_core.artifacts import Sidecar, Want
from dpm_core.attempts import AttemptView
from dpm_core.cids import Cid

from dpm_runtime.attempt_files import DiskAttempt
from dpm_runtime.growing import GrowingFile
from dpm_runtime.home import Home
from dpm_runtime.verified_file import VerifiedFile


class DiskBlobStore:
    """Ports BlobStore and Intake over the folders of a home.

    The constructor touches nothing. Everything runs on one event loop; disk work that takes time runs in
    threads of the store's own. ``close`` ends them, after ``fail_all`` has ended the reads that wait.
    """

    def __init__(self, home: Home) -> None:
        self.home = home

    # readers

    async def open(self, cid: Cid) -> VerifiedFile | None:
        """The blob, or None if the store has it not. Raises Unavailable if the disk cannot say."""
        raise NotImplementedError

    async def follow(self, artifact_id: str, token: int) -> GrowingFile | None:
        """The attempt, or None if it has no folder (any more). Each call's result is closed by its caller."""
        raise NotImplementedError

    async def newest(self, artifact_id: str) -> int | None:
        """The highest token of the artifact's attempts that have a folder."""
        raise NotImplementedError

    # what a file system shows; all synchronous, microseconds, never waiting

    def path(self, cid: Cid) -> Path:
        """Where the blob's bytes are, or would be."""
        raise NotImplementedError

    def find_sha256(self, hex_digest: str) -> Cid | None:
        """The CID of the blob with this sha256 (64 hex digits), None if the store has it not."""
        raise NotImplementedError

    def sidecar(self, cid: Cid) -> Sidecar | None:
        """What is kept beside the blob, None if it is not held or its sidecar cannot be read."""
        raise NotImplementedError

    def cids(self) -> Iterator[Cid]:
        """Every blob, in no order."""
        raise NotImplementedError

    def artifact_ids(self) -> list[str]:
        """The artifacts that have attempts."""
        raise NotImplementedError

    def attempts(self, artifact_id: str) -> list[int]:
        """The tokens of an artifact's visible attempts, lowest first; empty if there is none."""
        raise NotImplementedError

    def view(self, artifact_id: str, token: int) -> AttemptView | None:
        """The attempt as anyone may see it, None if it has no folder."""
        raise NotImplementedError

    # the writer

    async def begin(self, want: Want) -> DiskAttempt:
        """A new attempt, locked and not yet visible. Raises Unavailable if the disk cannot take it."""
        raise NotImplementedError

    async def sweep(self, now: float) -> int:
        """Delete what finished, lost or abandoned attempts left; returns how many. ``now`` in epoch seconds."""
        raise NotImplementedError

    async def remove(self, cid: Cid) -> None:
        """Delete a blob and its sidecar; open readers finish."""
        raise NotImplementedError

    # the end

    def fail_all(self) -> None:
        """End all reads that wait for growth with AttemptLost, and those to come."""
        raise NotImplementedError

    async def close(self) -> None:
        """Let go of watches and threads; may be called twice."""
        raise NotImplementedError
