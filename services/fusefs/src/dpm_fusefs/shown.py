"""What the store holds of each node: whether it is there, how large it is, and what is below it."""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from dpm_core.attempts import Phase, readable
from dpm_core.cids import Cid
from dpm_core.digests import Digest
from dpm_core.registry import to_json
from dpm_fusefs.tree import (
    Alive,
    Artifact,
    Attempt,
    ByCid,
    BySha256,
    Data,
    Folder,
    Node,
    State,
    child,
)
from dpm_runtime.store import DiskBlobStore


@dataclass(frozen=True)
class Looks:
    """Size in bytes, time of the last change in nanoseconds since the epoch, and whether that can change."""

    size: int
    changed_ns: int
    lasting: bool


class Shown:
    """The store as a tree of nodes. Everything but ``list`` is synchronous and takes microseconds."""

    def __init__(self, store: DiskBlobStore) -> None:
        self._store = store
        self._started_ns = time.time_ns()

    def cid(self, node: ByCid | BySha256) -> Cid | None:
        """The CID of a blob's node, whether or not its file is there; None for a sha256 that nothing has."""
        return node.cid if isinstance(node, ByCid) else self._store.find_sha256(node.digest.hex)

    def looks(self, node: Node) -> Looks | None:
        """How the node looks now; None if it is not there."""
        match node:
            case Folder():
                return Looks(0, self._started_ns, lasting=True)
            case Alive():
                return Looks(len(self.alive()), time.time_ns(), lasting=False)
            case ByCid() | BySha256():
                return self._blob(node)
            case Artifact(artifact_id):
                held = bool(self._store.attempts(artifact_id))
                return Looks(0, self._started_ns, lasting=False) if held else None
            case Attempt() | Data() | State():
                return self._attempt(node)

    def _blob(self, node: ByCid | BySha256) -> Looks | None:
        cid = self.cid(node)
        if cid is None:
            return None
        try:
            stat = self._store.path(cid).stat()
        except FileNotFoundError:
            return None
        # of a large blob the sidecar says the size: a file cut short must end in an error, not early
        sidecar = None if cid.is_raw else self._store.sidecar(cid)
        return Looks(sidecar.blob.size if sidecar else stat.st_size, stat.st_mtime_ns, lasting=True)

    def _attempt(self, node: Attempt | Data | State) -> Looks | None:
        attempt = node if isinstance(node, Attempt) else node.attempt
        view = self._store.view(attempt.artifact_id, attempt.token)
        if view is None:
            return None
        changed_ns = int(view.grown_at * 1e9)
        match node:
            case Attempt():
                return Looks(0, changed_ns, lasting=False)
            case State():
                return Looks(len(to_json(view.state)), changed_ns, lasting=False)
            case Data():
                size = view.state.length if view.state.phase is Phase.VERIFIED else None
                return Looks(readable(view.state, view.written) if size is None else size, changed_ns, False)

    def state(self, attempt: Attempt) -> bytes | None:
        """The attempt's state as JSON; None if it is gone."""
        view = self._store.view(attempt.artifact_id, attempt.token)
        return None if view is None else to_json(view.state)

    def alive(self) -> bytes:
        """Who answers, and when: pid and seconds since the epoch."""
        return f"{os.getpid()} {time.time():.3f}\n".encode()

    async def list(self, node: Node) -> list[tuple[str, Node]]:
        """The names below a folder and what they stand for; reads the disk in a thread."""
        return await asyncio.to_thread(lambda: list(self._children(node)))

    def _children(self, node: Node) -> Iterator[tuple[str, Node]]:
        for name in self._names(node):
            below = child(node, name)
            if below is not None:
                yield name, below

    def _names(self, node: Node) -> Iterator[str]:
        match node:
            case Folder.ROOT:
                yield from (".alive", *(each.value for each in Folder if each.value))
            case Folder.CID:
                yield from self._store.cids()
            case Folder.SHA256:
                for cid in self._store.cids():
                    digest = self._sha256(cid)
                    if digest is not None:
                        yield digest.hex
            case Folder.INCOMING:
                yield from self._store.artifact_ids()
            case Artifact(artifact_id):
                yield from map(str, self._store.attempts(artifact_id))
            case Attempt():
                yield from ("data", "state.json")

    def _sha256(self, cid: Cid) -> Digest | None:
        if cid.is_raw:
            return Digest(f"sha256:{cid.hash.hex()}")
        sidecar = self._store.sidecar(cid)
        return None if sidecar is None else sidecar.blob.sha256
