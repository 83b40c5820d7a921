import asyncio
import time
from collections.abc import Mapping

from dpm_core.errors import DiskFails
from dpm_core.taps import USED, Used
from dpm_fetcher import uses
from dpm_runtime.service import SystemClock
from dpm_testkit.catalog_conformance import recorded, ref, stored
from dpm_testkit.memory_catalog import MemoryCatalog
from dpm_testkit.memory_log import MemoryTap
from dpm_testkit.patience import eventually


async def test_what_gateways_tell_is_noted_and_nothing_is_used_in_the_future() -> None:
    catalog, tap = MemoryCatalog(), MemoryTap()
    catalog.apply(recorded(stored("wheel"), stored("sdist")))
    listening = asyncio.create_task(uses.note(tap, catalog, SystemClock()))

    async def noted() -> bool:
        await tap.tell(USED, "not what a gateway tells")
        await tap.tell(USED, Used("gateway-0", {ref("wheel").id: time.time() + 1e6, "0" * 32: 1.0}))
        (holding,) = catalog.holdings()
        return holding.used_at > time.time() - 100

    await eventually(noted)
    (holding,) = catalog.holdings()
    assert holding.used_at <= time.time()
    listening.cancel()


class Disk(MemoryCatalog):
    """A catalog that can be full; ``tried`` counts what was to be written."""

    full = True
    tried = 0

    def use(self, used: Mapping[str, float]) -> None:
        self.tried += 1
        if self.full:
            raise DiskFails("the catalog cannot be used: database or disk is full")
        super().use(used)


async def test_on_a_full_disk_uses_are_lost_and_noted_again_once_there_is_room() -> None:
    catalog, tap = Disk(), MemoryTap()
    catalog.apply(recorded(stored("wheel")))
    listening = asyncio.create_task(uses.note(tap, catalog, SystemClock()))

    async def tried(times: int) -> bool:
        await tap.tell(USED, Used("gateway-0", {ref("wheel").id: time.time() - 5}))
        return catalog.tried >= times

    await eventually(lambda: tried(2))
    catalog.full = False
    await eventually(lambda: tried(4))
    (holding,) = catalog.holdings()
    assert holding.used_at > time.time() - 100
    listening.cancel()
