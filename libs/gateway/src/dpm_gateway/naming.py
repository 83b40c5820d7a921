"""Which held artifacts may name files, as one ecosystem says: learnt from the catalog, a little at a time."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeAlias

from dpm_core.artifacts import ArtifactRef, Want
from dpm_core.cids import Cid
from dpm_core.ecosystem import Ecosystem
from dpm_core.ports import Entry, Shelves
from dpm_gateway.answer import Search

PART = 500
"""Artifacts looked at in one go; it takes two milliseconds, and then others are to run."""


class Naming:
    """The indexes among what is held, without reading any. What is new costs one look-up to learn.

    ``is_read`` says whether it is known what an index names: who searches is not to wait for that of a new one.
    """

    def __init__(
        self, ecosystem: Ecosystem, catalog: Shelves, is_read: Callable[[Entry], bool] = lambda entry: True
    ) -> None:
        self._ecosystem = ecosystem
        self._catalog = catalog
        self._is_read = is_read
        self._token = 0
        self._read: defaultdict[str, _Refs] = defaultdict(dict)
        self._unread: defaultdict[str, _Refs] = defaultdict(dict)
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

        The last one stored comes first; those that are not read are left out. Each has a want for it, which is as
        ``like`` in all but the name. Raises Unavailable as ``search`` does.
        """
        return self._among(self._read[like.ref.upstream], like, prefix)

    def unread(self, like: Want, prefix: str) -> Iterator[tuple[Want, Entry]]:
        """The others, as ``held`` gives them."""
        return self._among(self._unread[like.ref.upstream], like, prefix)

    def dismiss(self, entry: Entry) -> None:
        """Its bytes are no index."""
        self._void[entry.ref.id] = entry.blob.cid

    def _among(self, refs: "_Refs", like: Want, prefix: str) -> Iterator[tuple[Want, Entry]]:
        for _, ref in reversed(list(refs.values())):
            if not ref.key.startswith(prefix):
                continue
            entry = self._catalog.find(ref.id)
            if entry is None:
                refs.pop(ref.id, None)
            elif self._void.get(ref.id) != entry.blob.cid:
                yield _want(like, entry), entry

    def _learn(self) -> bool:
        """Learn a part of what has been stored, and what has been read; returns whether there is more."""
        if self._catalog.position() < self._token:  # the log was lost, and counts anew
            self._token = 0
        part = self._catalog.since(self._ecosystem.name, self._token, PART)
        for token, ref in part:
            self._token = token
            if self._ecosystem.names_files(ref):
                for refs in (self._read[ref.upstream], self._unread[ref.upstream]):
                    refs.pop(ref.id, None)
                self._unread[ref.upstream][ref.id] = token, ref
        for upstream, unread in self._unread.items():
            if unread:
                self._settle(upstream, unread)
        return len(part) == PART

    def _settle(self, upstream: str, unread: "_Refs") -> None:
        read = {id_: each for id_, each in unread.items() if self._is_settled(each[1])}
        if read:
            known = self._read[upstream] | read
            self._read[upstream] = dict(sorted(known.items(), key=lambda item: item[1][0]))
            self._changes[upstream] += 1
        for id_ in read:
            del unread[id_]

    def _is_settled(self, ref: ArtifactRef) -> bool:
        """Whether nobody need wait for it: it is read, no index, or gone."""
        entry = self._catalog.find(ref.id)
        return entry is None or self._void.get(ref.id) == entry.blob.cid or self._is_read(entry)


_Refs: TypeAlias = dict[str, tuple[int, ArtifactRef]]
"""Names by their ids, with the tokens that they were stored with, in the order of these."""


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
