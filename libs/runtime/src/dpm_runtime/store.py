"""The blob store on disk: what readers and its one writer see of it."""

from collections.abc import Callable, Iterator
from pathlib import Path

from dpm_core.artifacts import Want
from dpm_core.attempts import AttemptView
from dpm_core.cids import Cid
from dpm_core.errors import Unavailable, Untrusted
from dpm_core.events import ArtifactStored
from dpm_core.sidecars import Sidecar, told_by
from dpm_runtime.attempt_files import DiskAttempt, begin_attempt, view_attempt
from dpm_runtime.blob_files import BlobFiles
from dpm_runtime.disk import DiskThreads, Floor, disk_errors
from dpm_runtime.growing import GrowingFile, Growth
from dpm_runtime.growth_watch import POLL_SECONDS, GrowthWatch
from dpm_runtime.home import Home
from dpm_runtime.layout import Layout
from dpm_runtime.sweeping import sweep
from dpm_runtime.verified_file import VerifiedChunks, VerifiedFile, open_verified


class DiskBlobStore:
    """Ports BlobStore and Intake over the folders of a home.

    The constructor touches nothing on disk; the home must be prepared. Everything runs on one event loop; disk
    work that takes time runs in threads of the store's own. To end it: ``fail_all``, then ``close``, or use it
    as an asynchronous context manager. ``mismatch`` is told, on the event loop, of each blob about which the disk
    was found to lie; attempts leave ``floor`` bytes of the disk free.
    """

    def __init__(
        self,
        home: Home,
        *,
        poll_seconds: float = POLL_SECONDS,
        mismatch: Callable[[Cid], None] = lambda cid: None,
        floor: int = 0,
    ) -> None:
        self._layout = Layout(home)
        self._files = BlobFiles(self._layout)
        self._threads = DiskThreads()
        self._chunks = VerifiedChunks(self._threads, mismatch)
        self._mismatch = mismatch
        self._floor = Floor(home.incoming, floor)
        self._watch = GrowthWatch(poll_seconds)
        self._growths: dict[Path, tuple[Growth, list[GrowingFile]]] = {}
        self._failing = False
        self._closed = False

    # readers

    async def open(self, cid: Cid) -> VerifiedFile | None:
        """The blob, or None if the store has it not.

        Raises Unavailable if the disk cannot say, Untrusted if what is there cannot be this blob.
        """
        self._require_open()
        try:
            return await open_verified(self._layout, self._files, cid, self._threads, self._chunks)
        except Untrusted:
            self._mismatch(cid)
            raise

    async def follow(self, artifact_id: str, token: int) -> GrowingFile | None:
        """The attempt, or None if it has no folder (any more). Each call's result is closed by its caller.

        Raises Unavailable if the disk cannot say.
        """
        self._require_open()
        folder = self._layout.attempt(artifact_id, token)
        if folder not in self._growths:
            with disk_errors("follow an attempt"):
                opened = Growth.open(folder, self._watch, self._threads, self.open)
            if opened is None:
                return None
            self._growths[folder] = (opened, [])
            if self._failing:
                opened.fail(_STOPPING)
        growth, readers = self._growths[folder]
        file = GrowingFile(growth, lambda: self._left(folder, file))
        readers.append(file)
        return file

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("this store is closed")

    def _left(self, folder: Path, file: GrowingFile) -> None:
        growth, readers = self._growths[folder]
        readers.remove(file)
        if not readers:
            del self._growths[folder]
            growth.close()

    async def newest(self, artifact_id: str) -> int | None:
        """The highest token of the artifact's attempts that have a folder. Raises Unavailable."""
        with disk_errors("list attempts"):
            return max(self._layout.tokens(artifact_id), default=None)

    # what a file system shows: synchronous, microseconds, never waiting

    def path(self, cid: Cid) -> Path:
        """Where the blob's bytes are, or would be."""
        return self._layout.blob(cid)

    def has(self, cid: Cid) -> bool:
        """Whether there is a file for the blob; what is in it only shows when it is read."""
        return self._layout.has(cid)

    def find_sha256(self, hex_digest: str) -> Cid | None:
        """The CID of the blob with this sha256, None if the store has it not.

        Raises Invalid for what are not 64 hex digits, Unavailable.
        """
        with disk_errors("find a blob"):
            return self._files.find_sha256(hex_digest)

    def sidecar(self, cid: Cid) -> Sidecar | None:
        """What is kept beside the blob, None if there is nothing that can be read. Raises Unavailable."""
        with disk_errors("read a sidecar"):
            return self._files.sidecar(cid)

    def cids(self) -> Iterator[Cid]:
        """Every blob, in no order. Raises OSError."""
        return self._layout.cids()

    def artifact_ids(self) -> list[str]:
        """The artifacts that have attempts. Raises Unavailable."""
        with disk_errors("list artifacts"):
            return self._layout.artifact_ids()

    def attempts(self, artifact_id: str) -> list[int]:
        """The tokens of an artifact's visible attempts, lowest first; empty if there is none.

        Raises Invalid for what is no artifact id, Unavailable.
        """
        with disk_errors("list attempts"):
            return self._layout.tokens(artifact_id)

    def view(self, artifact_id: str, token: int) -> AttemptView | None:
        """The attempt as anyone may see it, None if it has no folder. Raises Unavailable."""
        with disk_errors("look at an attempt"):
            return view_attempt(self._layout.attempt(artifact_id, token), token)

    def left(self, artifact_id: str, token: int) -> ArtifactStored | None:
        """See Intake."""
        view = self.view(artifact_id, token)
        cid = None if view is None else view.state.cid
        if cid is None or not self.path(cid).exists():
            return None
        return told_by(self.sidecar(cid), artifact_id, token)

    def settle(self, artifact_id: str, token: int) -> None:
        """See Intake."""
        with disk_errors("note how an attempt ended"):
            self._layout.settle(artifact_id, token)

    # the writer

    async def begin(self, want: Want) -> DiskAttempt:
        """A new attempt, locked and not yet visible. Raises Unavailable if the disk cannot take it."""
        with disk_errors("begin an attempt"):
            return begin_attempt(self._layout, self._files, self._threads, want, self._floor)

    async def sweep(self, now: float) -> int:
        """Delete what finished, lost or abandoned attempts left (see ``sweeping``); returns how many.

        ``now`` is in seconds since the epoch. Raises Unavailable.
        """
        with disk_errors("sweep"):
            return await self._threads.run(sweep, self._layout, now)

    async def remove(self, cid: Cid, unless: Callable[[Sidecar | None], bool] = lambda sidecar: False) -> bool:
        """Delete a blob and its sidecar; open readers finish. Returns whether it was done. Raises Unavailable.

        ``unless`` is asked in a thread, while nobody else can store or remove the blob.
        """
        with disk_errors("remove a blob"):
            return await self._threads.run(self._files.remove, cid, unless)

    async def check(self, cid: Cid) -> str | None:
        """Hash the blob's bytes: what is wrong with them, None if nothing is, or if there are none.

        Raises Unavailable.
        """
        with disk_errors("check a blob"):
            return await self._threads.run(self._files.check, cid)

    async def quarantine(self, cid: Cid) -> str | None:
        """Set the blob aside if its bytes are wrong: what is wrong with them, None if nothing was done.

        Open readers keep what they have. Raises Unavailable.
        """
        with disk_errors("set a blob aside"):
            return await self._threads.run(self._files.quarantine, cid)

    # the end

    def fail_all(self) -> None:
        """End all reads that wait for growth with AttemptLost, and those to come."""
        self._failing = True
        for growth, _ in self._growths.values():
            growth.fail(_STOPPING)

    async def close(self) -> None:
        """End waiting reads, then watches, then threads; may be called twice."""
        self._closed = True
        self.fail_all()
        for growth, _ in self._growths.values():
            growth.close()
        await self._watch.close()
        await self._threads.close()

    async def __aenter__(self) -> "DiskBlobStore":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


_STOPPING = "this process is stopping"
