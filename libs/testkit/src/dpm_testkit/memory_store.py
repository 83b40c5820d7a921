"""The memory twin of the blob store: what its readers see, and its writer."""

import asyncio
import time
from collections.abc import Callable

from dpm_core.artifacts import Blob, Want
from dpm_core.attempts import AttemptState, AttemptView, Failure, Phase, readable
from dpm_core.cids import CHUNK, Cid, CidHasher, cid_of
from dpm_core.digests import Hasher
from dpm_core.errors import AttemptFailed, AttemptLost, Untrusted
from dpm_core.events import ArtifactStored, FailReason, Source
from dpm_core.sidecars import Sidecar, told_by
from dpm_runtime.attempt_files import kept
from dpm_runtime.disk import full_disk
from dpm_runtime.sweeping import ADOPTABLE_FOR, KEPT_FOR, TELLABLE_FOR


class MemoryBody:
    """Body over bytes that are checked against their CID at each read."""

    def __init__(self, cid: Cid, data: bytes) -> None:
        self.size = len(data)
        self._cid = cid
        self._data = data

    async def read(self, offset: int, size: int) -> bytes:
        if cid_of([self._data]) != self._cid:
            raise Untrusted(f"{self._cid} is not what was stored")
        return self._data[offset : offset + size]

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryBlobStore:
    """BlobStore and Intake in dicts.

    ``now`` gives epoch seconds. While ``full`` nothing can be written. ``kill`` lets a writer die, ``spoil``
    a blob rot.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.full = False
        self.blobs: dict[Cid, bytes] = {}
        self.sidecars: dict[Cid, Sidecar] = {}
        self.quarantined: dict[Cid, bytes] = {}
        self.attempts: dict[str, dict[int, MemoryAttempt]] = {}

    async def open(self, cid: Cid) -> MemoryBody | None:
        data = self.blobs.get(cid)
        return None if data is None else MemoryBody(cid, data)

    async def follow(self, artifact_id: str, token: int) -> "MemoryGrowing | None":
        attempt = self.attempts.get(artifact_id, {}).get(token)
        return None if attempt is None else MemoryGrowing(self, attempt)

    async def newest(self, artifact_id: str) -> int | None:
        return max(self.attempts.get(artifact_id, {}), default=None)

    async def begin(self, want: Want) -> "MemoryAttempt":
        self.require_room()
        return MemoryAttempt(self, want)

    def view(self, artifact_id: str, token: int) -> AttemptView | None:
        attempt = self.attempts.get(artifact_id, {}).get(token)
        if attempt is None:
            return None
        state = attempt.state
        written = state.length or 0 if state.phase is Phase.VERIFIED else len(attempt.data)
        return AttemptView(token, state, attempt.locked, written, attempt.touched)

    def left(self, artifact_id: str, token: int) -> ArtifactStored | None:
        view = self.view(artifact_id, token)
        cid = None if view is None else view.state.cid
        return None if cid is None else told_by(self.sidecars.get(cid), artifact_id, token)

    def settle(self, artifact_id: str, token: int) -> None:
        for each, attempt in self.attempts.get(artifact_id, {}).items():
            attempt.settled = attempt.settled or each <= token

    async def sweep(self, now: float) -> int:
        swept = 0
        for artifact_id, attempts in list(self.attempts.items()):
            for token, attempt in list(attempts.items()):
                kept_for = max(KEPT_FOR, attempt.of_use if token == max(attempts) else 0.0)
                if not attempt.locked and now - attempt.touched >= kept_for:
                    del attempts[token]
                    swept += 1
            if not attempts:
                del self.attempts[artifact_id]
        return swept

    def sidecar(self, cid: Cid) -> Sidecar | None:
        return self.sidecars.get(cid)

    async def remove(self, cid: Cid, unless: Callable[[Sidecar | None], bool] = lambda sidecar: False) -> bool:
        if unless(self.sidecar(cid)):
            return False
        self.blobs.pop(cid, None)
        self.sidecars.pop(cid, None)
        return True

    async def check(self, cid: Cid) -> str | None:
        data = self.blobs.get(cid)
        return None if data is None or cid_of([data]) == cid else f"its {len(data)} bytes are others"

    async def quarantine(self, cid: Cid) -> str | None:
        why = await self.check(cid)
        if why is not None:
            self.quarantined[cid] = self.blobs.pop(cid)
            self.sidecars.pop(cid, None)
        return why

    def require_room(self) -> None:
        """Raise DiskFails while the disk is full."""
        if self.full:
            raise full_disk("cannot write what was fetched: No space left on device")

    def kill(self, attempt: object) -> None:
        """Let the writer of an attempt die: its lock is free, and it says nothing any more."""
        assert isinstance(attempt, MemoryAttempt)
        attempt.locked = False
        attempt.wake()

    def spoil(self, cid: Cid) -> None:
        """Let a blob rot."""
        self.blobs[cid] = bytes(255 - byte for byte in self.blobs[cid])


class MemoryAttempt:
    """Attempt in memory."""

    def __init__(self, store: MemoryBlobStore, want: Want) -> None:
        self.state = AttemptState()
        self.data = bytearray()
        self.locked = True
        self.settled = False
        self.token: int | None = None
        self.want = want
        self.touched = store.now()
        self._store = store
        self._changed = asyncio.Event()

    async def start(self, token: int, adopt: int | None = None) -> int:
        self._store.require_room()
        attempts = self._store.attempts.setdefault(self.want.ref.id, {})
        dead = attempts.get(adopt or 0)
        if dead is not None and not dead.locked and dead.state.phase is not Phase.FAILED:
            self.data, dead.data = dead.data, bytearray()
        attempts[token] = self
        self.token = token
        for other in attempts.values():
            other.wake()
        return len(self.data)

    async def publish(self, state: AttemptState) -> None:
        if not self.state.over:
            self.state = state
            if state.phase is Phase.FAILED:
                self.data = bytearray()
            self._touch()

    async def write(self, data: bytes) -> None:
        self._store.require_room()
        self.data += data
        self._touch()

    async def restart(self) -> None:
        self.data = bytearray()
        self._touch()

    async def store(self, state: AttemptState, source: Source) -> tuple[Blob, AttemptState]:
        body = bytes(self.data)
        hasher, cids = Hasher(self.want.digests), CidHasher()
        hasher.update(body)
        cids.update(body)
        try:
            for expected in (state.length, self.want.size):
                if expected is not None and expected != len(body):
                    raise Untrusted(f"expected {expected} bytes, got {len(body)}")
            digests = hasher.verify()
        except Untrusted:
            self.data = bytearray()
            raise
        blob = Blob(cids.cid(), len(body), digests)
        final = state.verified(blob.cid, blob.size)
        await self.publish(final)
        self._store.require_room()
        known = self._store.sidecars.get(blob.cid)
        leaves = tuple(leaf.hex() for leaf in cids.leaves()) if len(body) > CHUNK else ()
        about = kept(self.want, state, source, self.token, self._store.now())
        sidecar = Sidecar(blob, leaves, {self.want.ref.id: about})
        self._store.blobs[blob.cid] = body
        if known is not None:
            sidecar = sidecar.joined(known) if self.replaced else known.joined(sidecar)
        self._store.sidecars[blob.cid] = sidecar
        return blob, final

    async def close(self) -> None:
        if self.locked:
            self.locked = False
            self._touch()

    @property
    def of_use(self) -> float:
        """Seconds for which it may be gone on from, or told of, once it is dead."""
        if self.settled or self.state.phase is Phase.FAILED:
            return 0.0
        return TELLABLE_FOR if self.state.phase is Phase.VERIFIED else ADOPTABLE_FOR

    @property
    def replaced(self) -> bool:
        """Whether a newer attempt stands beside it."""
        return max(self._store.attempts.get(self.want.ref.id, {}), default=0) > (self.token or 0)

    def _touch(self) -> None:
        self.touched = self._store.now()
        self.wake()

    def wake(self) -> None:
        """Let all who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()


class MemoryGrowing:
    """Growing over an attempt in memory."""

    def __init__(self, store: MemoryBlobStore, attempt: MemoryAttempt) -> None:
        self._store = store
        self._attempt = attempt
        self._closed = False

    async def opened(self) -> AttemptState:
        while True:
            self._check_lost()
            state = self._attempt.state
            if state.over or readable(state, len(self._attempt.data)) > 0:
                return state
            await self._attempt.changed()

    async def read(self, offset: int, size: int) -> bytes:
        while True:
            self._check_lost()
            state, data = self._attempt.state, self._attempt.data
            if state.phase is Phase.FAILED:
                raise AttemptFailed(state.failure or Failure(FailReason.UNAVAILABLE, "the fetch failed"))
            if state.phase is Phase.VERIFIED and len(data) != state.length:
                return await self._confirmed(state, offset, size)
            frontier = readable(state, len(data))
            if offset < frontier:
                return bytes(data[offset : min(offset + size, frontier)])
            if state.phase is Phase.VERIFIED:
                return b""
            await self._attempt.changed()

    async def _confirmed(self, state: AttemptState, offset: int, size: int) -> bytes:
        body = None if state.cid is None else await self._store.open(state.cid)
        if body is None:
            raise AttemptLost("the blob of this attempt has left the store")
        return await body.read(offset, size)

    def _check_lost(self) -> None:
        if self._closed:
            raise AttemptLost("read of a closed file")
        if self._attempt.state.over:
            return
        if self._attempt.replaced:
            raise AttemptLost("a newer attempt has replaced this one")
        if not self._attempt.locked:
            raise AttemptLost("the writer of this attempt has died")

    def close(self) -> None:
        self._closed = True
        self._attempt.wake()
