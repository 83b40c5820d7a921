"""What ``dpm store`` says: how full the store is, by ecosystem, what is biggest and what was unused longest."""

import json
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass

from dpm_cli import show
from dpm_core.commands import Item
from dpm_core.ports import Totals
from dpm_runtime.catalog import SqliteCatalog
from dpm_runtime.catalog_listing import Listing, Order, Share
from dpm_runtime.disk import Space
from dpm_runtime.home import Home
from dpm_runtime.layout import Layout
from dpm_runtime.quota import quota_of
from dpm_runtime.settings import Settings


@dataclass(frozen=True)
class Shelf:
    """The store at a glance; all sizes in bytes.

    ``limit`` is its quota, ``start`` where room begins to be made, ``free`` what its disk has left. ``left_over``
    counts blobs that nobody has any more and that are about to go, ``unknown`` those that no log tells of.
    """

    held: Totals
    limit: int
    start: int
    free: int
    ecosystems: tuple[Share, ...]
    biggest: tuple[Item, ...]
    unused: tuple[Item, ...]
    pinned: tuple[Item, ...]
    left_over: int
    left_over_bytes: int
    unknown: int

    def to_json(self) -> str:
        """The whole, as one JSON object."""
        return json.dumps(asdict(self), indent=2)


def look(settings: Settings, limit: int) -> Shelf:
    """Read the catalog and the folder of blobs; no node need run. Raises Unavailable."""
    home = settings.folders
    with closing(SqliteCatalog.reader(home.catalog)) as catalog:
        listing = Listing(catalog)
        space = Space.of(home.blobs if home.blobs.exists() else home.root.parent)
        quota = quota_of(settings, space)
        left_over, left_over_bytes = listing.left_over()
        return Shelf(
            held=catalog.totals(),
            limit=quota.limit,
            start=int(quota.limit * quota.start),
            free=space.free,
            ecosystems=tuple(listing.shares()),
            biggest=tuple(listing.items(Order.BIGGEST, limit)),
            unused=tuple(listing.items(Order.UNUSED, limit)),
            pinned=tuple(listing.items(Order.NAME, limit, pinned=True)),
            left_over=left_over,
            left_over_bytes=left_over_bytes,
            unknown=_unknown(home, listing),
        )


def _unknown(home: Home, listing: Listing) -> int:
    known = listing.cids() | listing.left_over_cids()
    with suppress(FileNotFoundError):
        return sum(1 for cid in Layout(home).cids() if cid not in known)
    return 0


def lines(shelf: Shelf) -> list[tuple[str, str]]:
    """The shelf for people: each line with its style, empty for none."""
    held = shelf.held
    part = 100 * held.bytes / shelf.limit
    told = [
        (f"{show.amount(held.bytes)} of {show.amount(shelf.limit)} ({part:.0f} %)", "bold"),
        (f"  {held.artifacts} artifacts in {held.blobs} blobs; {show.amount(shelf.free)} free on the disk", ""),
        (f"  above {show.amount(shelf.start)} what was used longest ago goes", "dim"),
    ]
    if shelf.left_over:
        about = f"{shelf.left_over} blobs ({show.amount(shelf.left_over_bytes)})"
        told.append((f"  {about} that nobody has any more are about to go", ""))
    if shelf.unknown:
        told.append((f"  {shelf.unknown} files that the log knows nothing of", "yellow"))
    rows = [
        [each.ecosystem, show.amount(each.bytes), f"{each.artifacts} artifacts", f"{each.pinned} pinned"]
        for each in shelf.ecosystems
    ]
    told += [("  " + "  ".join(row), "") for row in show.columns(rows)]
    for title, items in (
        ("Biggest", shelf.biggest),
        ("Unused longest", shelf.unused),
        ("Pinned", shelf.pinned),
    ):
        if items:
            told += [(title, "bold"), *((line, "") for line in item_lines(items))]
    return told


def item_lines(items: Sequence[Item]) -> list[str]:
    """Artifacts, one a line: last use, size, ecosystem, name."""
    rows = [
        [
            time.strftime("%Y-%m-%d %H:%M", time.localtime(each.used_at)),
            show.amount(each.size),
            each.ecosystem,
            each.name + (" (pinned)" if each.pinned else ""),
        ]
        for each in items
    ]
    return ["  " + "  ".join(row) for row in show.columns(rows)]
