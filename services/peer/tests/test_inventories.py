"""Inventories of our own are kept as long as somebody may be fetching them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dpm_core.cids import CHUNK, cid_of
from dpm_core.errors import Unavailable
from dpm_peer.inventories import Inventories

LONG = (b"a" * CHUNK, b"b" * CHUNK)


def test_what_is_written_is_described_and_the_last_two_are_kept(tmp_path: Path) -> None:
    inventories = Inventories(tmp_path / "inventory")
    inventories.load()
    lots = [inventories.write(parts) for parts in ((b"one",), LONG, (b"one",), (b"two",))]
    assert inventories.describe(cid_of(LONG)) == lots[1]
    assert lots[1].path.read_bytes() == b"".join(LONG)
    assert inventories.outdated() == [cid_of(LONG)]
    inventories.remove(inventories.outdated())
    assert inventories.cids() == [lots[2].cid, lots[3].cid]
    assert (inventories.describe(cid_of(LONG)), lots[1].path.exists()) == (None, False)


def test_they_are_found_after_a_restart_and_what_broke_off_is_removed(tmp_path: Path) -> None:
    before = Inventories(tmp_path)
    before.load()
    lot = before.write(LONG)

    def breaks_off() -> Iterator[bytes]:
        yield b"half"
        raise Unavailable("it broke off")

    with pytest.raises(Unavailable):
        before.write(breaks_off())
    after = Inventories(tmp_path)
    after.load()
    assert after.describe(lot.cid) == lot
    assert [path.name for path in tmp_path.iterdir()] == [lot.path.name]
