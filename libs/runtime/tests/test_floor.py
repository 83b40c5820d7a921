"""What is left free on the disk: the log appends nothing below its floor, and says so at once."""

from pathlib import Path

import nkeys
import pytest

from dpm_core.errors import DiskFails, Unavailable
from dpm_core.events import FetchRequested
from dpm_runtime.disk import Floor, Space
from dpm_runtime.nats_bus import NatsBus
from dpm_testkit.store_samples import want


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    file = tmp_path / "seed"
    file.write_bytes(nkeys.encode_seed(bytes(32), nkeys.PREFIX_BYTE_USER))
    file.chmod(0o600)
    return file


@pytest.mark.parametrize(("part", "error"), [(2.0, DiskFails), (0.0, Unavailable)])
async def test_below_its_floor_the_log_is_not_even_asked(
    tmp_path: Path, seed: Path, part: float, error: type[Unavailable]
) -> None:
    floor = Floor(tmp_path, int(Space.of(tmp_path).total * part))
    async with NatsBus.open("nats://127.0.0.1:9", "fetcher", seed, floor=floor) as bus:
        with pytest.raises(Unavailable) as refused:
            await bus.log.append(want().ref.topic, FetchRequested(want(), 0.0, "gateway-0"))
        assert type(refused.value) is error


def test_a_floor_leaves_room_for_what_lies_above_it(tmp_path: Path) -> None:
    free = Space.of(tmp_path).free
    Floor(tmp_path, 0).require(1)
    Floor(tmp_path, free // 2).require(free // 4)
    with pytest.raises(OSError, match=r"No space left on device but for \d+ MiB that are left to the log"):
        Floor(tmp_path, free // 2).require(free)
