"""What must be true of a node that has nothing to do: its log, catalog and store agree, and nothing leaks."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from dpm_core.artifacts import Topic
from dpm_core.cids import CHUNK, Cid, CidHasher
from dpm_core.decisions import Recorded
from dpm_core.events import ArtifactEvicted, ArtifactStored, FetchRequested, FetchStarted
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.home import Home
from dpm_runtime.mounts import parse_mountinfo
from dpm_runtime.store import DiskBlobStore
from dpm_runtime.sweeping import KEPT_FOR
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.node import Node

SPARE_DESCRIPTORS = 32
"""So many more than at first a process may have open: connections that are kept for the next request."""

WORKERS = 3
"""Processes that a gateway may start for work on indexes."""


class Auditor:
    """Looks at one node again and again; what it saw first is what later looks are held against.

    ``expected`` are the processes by their names in ``dpm status``.
    """

    def __init__(self, node: Node, expected: Sequence[str]) -> None:
        self._node = node
        self._home = node.home
        self._expected = set(expected)
        self._descriptors: dict[str, int] = {}
        self._history: list[Recorded] = []

    async def look(self) -> list[str]:
        """What is wrong, one sentence each; empty if all is well. Reads and hashes every file below the mount."""
        found = [*self._processes(), *self._sockets(), *self._mounts()]
        found += await self._log_and_catalog()
        if not found:  # else somebody is still at work
            found += [*await self._incoming(), *self._descriptors_of_all()]
            found += await asyncio.to_thread(lambda: list(_misnamed(self._home.mount)))
        return found

    def stored(self) -> int:
        """How many files and pages the log says were stored, as of the last look."""
        return sum(isinstance(each.event, ArtifactStored) for each in self._history)

    async def _log_and_catalog(self) -> list[str]:
        after = self._history[-1].sequence if self._history else 0
        self._history += await self._node.history(after=after)
        topics: dict[Topic, Recorded] = {}
        twin = MemoryCatalog()
        twin.apply(self._history)
        for recorded in self._history:
            if (topic := _topic(recorded)) is not None:
                topics[topic] = recorded
        found = [
            f"the log's last word on {topic.key} is {type(last.event).__name__} at {last.sequence}"
            for topic, last in topics.items()
            if isinstance(last.event, FetchRequested | FetchStarted)
        ]
        catalog = SqliteCatalog.reader(self._home.catalog)
        try:
            if (position := catalog.position()) != twin.position():
                return [*found, f"the catalog is at {position}, the log at {twin.position()}"]
            if catalog.totals() != twin.totals():
                found.append(f"the catalog holds {catalog.totals()}, the log says {twin.totals()}")
            entries = [entry for topic in topics if (entry := twin.find(topic.key)) is not None]
            found += [
                f"the catalog says of {entry.name}: {held}, the log: {entry}"
                for entry in entries
                if (held := catalog.find(entry.ref.id)) != entry
            ]
        finally:
            catalog.close()
        return found + await self._store({entry.blob.cid: entry.blob.size for entry in entries})

    async def _store(self, held: dict[Cid, int]) -> list[str]:
        named: set[Cid] = set()
        for recorded in self._history:
            if isinstance(recorded.event, ArtifactStored):
                named.add(recorded.event.blob.cid)
            elif isinstance(recorded.event, ArtifactEvicted):
                named.discard(recorded.event.cid)
        async with DiskBlobStore(self._home) as store:
            there = {cid: store.path(cid).stat().st_size for cid in store.cids()}
            found = []
            for cid in there:
                sidecar = store.sidecar(cid)
                if sidecar is None or store.find_sha256(sidecar.blob.sha256.hex) != cid:
                    found.append(f"{cid} cannot be found by its sha256")
        found += [f"{cid} is lost" for cid in held.keys() - there.keys()]
        found += [f"{cid} is in the store, and in no event" for cid in there.keys() - named]
        found += [f"{cid} has the wrong size" for cid in held.keys() & there.keys() if held[cid] != there[cid]]
        return found

    async def _incoming(self) -> list[str]:
        # what a fetcher would do a minute from now: all that stays has a writer, or somebody may go on from it
        async with DiskBlobStore(self._home) as store:
            await store.sweep(time.time() + KEPT_FOR)
        return [f"{path} is left over" for path in self._home.incoming.rglob("*")]

    def _processes(self) -> list[str]:
        found = []
        running = self._node.processes()
        for name in sorted(self._expected ^ running.keys()):
            found.append(f"{name} {'does not run' if name in self._expected else 'runs, and should not'}")
        for name, processes in running.items():
            if len(processes) > 1 + (WORKERS if name.startswith("gateway-") else 0):
                found.append(f"{name} has {len(processes)} processes")
            found += [f"{name} is stopped" for each in processes if each.status() == psutil.STATUS_STOPPED]
        return found

    def _sockets(self) -> list[str]:
        services = Counter(name.rstrip("0123456789").rstrip("-") for name in self._expected - {"nats"})
        expected = {f"{name}-{number}.sock" for name, count in services.items() for number in range(count)}
        there = {path.name for path in self._home.run.glob("*.sock")} - {"node.sock", self._home.commands.name}
        return [f"the sockets are {sorted(there)}"] if len(there) != len(expected) else []

    def _mounts(self) -> list[str]:
        mounts = parse_mountinfo(Path("/proc/self/mountinfo").read_text())
        count = sum(mount.point == str(self._home.mount) for mount in mounts)
        return [] if count == 1 else [f"{count} file systems are mounted at {self._home.mount}"]

    def _descriptors_of_all(self) -> list[str]:
        found = []
        for name, processes in self._node.processes().items():
            for process in processes[:1]:
                targets = list(_open_files(process.pid))
                most = self._descriptors.setdefault(name, len(targets)) + SPARE_DESCRIPTORS
                if len(targets) > most:
                    found.append(f"{name} has {len(targets)} open files, {Counter(targets).most_common(5)}")
                found += [f"{name} still has {each} open" for each in targets if _is_content(self._home, each)]
        return found


def _topic(recorded: Recorded) -> Topic | None:
    want = getattr(recorded.event, "want", recorded.event)
    ref = getattr(want, "ref", None)
    return None if ref is None else ref.topic


def _open_files(pid: int) -> Iterator[str]:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            yield str(link.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue


def _is_content(home: Home, target: str) -> bool:
    return any(target.startswith(f"{folder}{os.sep}") for folder in (home.incoming, home.blobs, home.mount))


def _misnamed(mount: Path) -> Iterator[str]:
    """The files below the mount whose bytes are not what their name says."""
    for path in (mount / "cid").iterdir():
        hasher = CidHasher()
        with path.open("rb") as file:
            while data := file.read(CHUNK):
                hasher.update(data)
        if hasher.cid() != path.name:
            yield f"{path} has other bytes"
