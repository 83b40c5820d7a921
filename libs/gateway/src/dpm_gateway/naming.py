"""Which held artifacts may name files, as one ecosystem says: learnt from the catalog, a little at a time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from dpm_core.artifacts import ArtifactRef, Want
from dpm_core.cids import Cid
from dpm_core.ecosystem import Ecosystem
from dpm_core.ports import Entry, Shelves

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

    async def held(self, like: Want, prefix: str) -> AsyncIterator[tuple[Want, Entry]]:
        """What may name files of the upstream of ``like`` and has a key that begins with ``prefix``.

        The last one stored comes first. Each has a want for it, which is as ``like`` in all but the name.
        Raises Unavailable where the catalog cannot be read.
        """
        await self._learn()
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

    async def _learn(self) -> None:
        if self._catalog.position() < self._token:  # the log was lost, and counts anew
            self._token = 0
        while part := self._catalog.since(self._ecosystem.name, self._token, PART):
            for token, ref in part:
                self._token = token
                if self._ecosystem.names_files(ref):
                    known = self._by_upstream.setdefault(ref.upstream, {})
                    known.pop(ref.id, None)
                    known[ref.id] = ref
            if len(part) < PART:
                return
            await asyncio.sleep(0)  # the catalog is read without waiting: others are to run


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
