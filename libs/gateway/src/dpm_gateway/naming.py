"""Which held artifacts may name files, as one ecosystem says: learnt from the catalog, a little at a time."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from dpm_core.artifacts import ArtifactRef, Want
from dpm_core.cids import Cid
from dpm_core.ecosystem import Ecosystem
from dpm_core.ports import Entry, Shelves
from dpm_gateway.answer import Search

PART = 500
"""Artifacts looked at in one go; it takes two milliseconds, and then others are to run."""


class Naming:
    """The indexes among what is held, without reading any. What is new costs one look-up to learn."""

    def __init__(self, ecosystem: Ecosystem, catalog: Shelves) -> None:
        self._ecosystem = ecosystem
        self._catalog = catalog
        self._token = 0
        self._by_upstream: dict[str, dict[str, ArtifactRef]] = {}
        self._void: dict[str, Cid] = {}
        self._changes: Counter[str] = Counter()

    async def search(self, upstream: str) -> Search:
        """Learn what has been stored, before ``held`` is asked.

        Raises Unavailable where the catalog cannot be read.
        """
        more = self._learn()
        while more:
            await asyncio.sleep(0)  # the catalog is read without waiting: others are to run
            more = self._learn()
        return Search(upstream, self._changes[upstream])

    def stands(self, search: Search) -> bool:
        """Whether who searches now comes upon no other index first. Raises Unavailable as ``search`` does."""
        return not self._learn() and self._changes[search.upstream] == search.changes

    def held(self, like: Want, prefix: str) -> Iterator[tuple[Want, Entry]]:
        """What may name files of the upstream of ``like`` and has a key that begins with ``prefix``.

        The last one stored comes first. Each has a want for it, which is as ``like`` in all but the name.
        Raises Unavailable as ``search`` does.
        """
        known = self._by_upstream.get(like.ref.upstream, {})
        for ref in reversed(list(known.values())):
            if not ref.key.startswith(prefix):
                continue
            entry = self._catalog.find(ref.id)
            if entry is None:
                known.pop(ref.id, None)
            elif self._void.get(ref.id) != entry.blob.cid:
                yield _want(like, entry), entry

    def dismiss(self, entry: Entry) -> None:
        """Its bytes are no index."""
        self._void[entry.ref.id] = entry.blob.cid

    def _learn(self) -> bool:
        """Learn a part of what has been stored; returns whether there is more."""
        if self._catalog.position() < self._token:  # the log was lost, and counts anew
            self._token = 0
        part = self._catalog.since(self._ecosystem.name, self._token, PART)
        for token, ref in part:
            self._token = token
            if self._ecosystem.names_files(ref):
                known = self._by_upstream.setdefault(ref.upstream, {})
                known.pop(ref.id, None)
                known[ref.id] = ref
                self._changes[ref.upstream] += 1
        return len(part) == PART


def _want(like: Want, entry: Entry) -> Want:
    """The want for what is held under another name than that of ``like``."""
    ref = entry.ref
    return replace(
        like,
        ref=ref,
        name=entry.name,
        url=ref.upstream + ref.key,
        digests=entry.blob.digests,
        size=entry.blob.size,
        fresh_for=entry.fresh_for,
    )
