"""The inventories that this node gives to others: files of its own, the last two of a network."""

import logging
from collections.abc import Iterable
from pathlib import Path

from dpm_core.cids import Cid, CidHasher
from dpm_core.errors import Unavailable
from dpm_peer.swarm import Lot

KEPT = 2
"""Inventories that are kept: somebody may be fetching the one before the last."""

_PIECE = 1024 * 1024
_END = ".jsonl"

log = logging.getLogger(__name__)


class Inventories:
    """The folder of one network's inventories, which nobody else writes; it may be lost."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lots: dict[Cid, Lot] = {}
        """The oldest first."""

    def load(self) -> None:
        """Find those that were written before, and remove what is none. Blocks. Raises Unavailable."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._folder.iterdir(), key=lambda each: each.stat().st_mtime):
                lot = _described(path)
                if path.name == lot.cid + _END:
                    self._lots[lot.cid] = lot
                else:
                    path.unlink()
        except OSError as error:
            raise Unavailable(f"inventories in {self._folder} cannot be read: {error}") from None

    def describe(self, cid: Cid) -> Lot | None:
        """The inventory, None if it is not (any more) one."""
        return self._lots.get(cid)

    def cids(self) -> list[Cid]:
        """Those that are kept, the newest last."""
        return list(self._lots)

    def write(self, parts: Iterable[bytes]) -> Lot:
        """Write a new one. Blocks. Raises Unavailable, and what ``parts`` raises."""
        hasher = CidHasher()
        fresh = self._folder / "new"
        try:
            with fresh.open("wb") as file:
                for part in parts:
                    hasher.update(part)
                    file.write(part)
            lot = Lot(hasher.cid(), self._folder / (hasher.cid() + _END), hasher.size, hasher.leaves())
            fresh.replace(lot.path)
        except OSError as error:
            raise Unavailable(f"an inventory cannot be written: {error}") from None
        self._lots.pop(lot.cid, None)
        self._lots[lot.cid] = lot
        return lot

    def outdated(self) -> list[Cid]:
        """Those that need not be kept: nobody may reference them when they are removed."""
        return list(self._lots)[:-KEPT]

    def remove(self, cids: Iterable[Cid]) -> None:
        """Delete these. Raises Unavailable."""
        for cid in cids:
            try:
                self._lots.pop(cid).path.unlink(missing_ok=True)
            except OSError as error:
                raise Unavailable(f"an old inventory cannot be removed: {error}") from None


def _described(path: Path) -> Lot:
    hasher = CidHasher()
    with path.open("rb") as file:
        while part := file.read(_PIECE):
            hasher.update(part)
    return Lot(hasher.cid(), path, hasher.size, hasher.leaves())
