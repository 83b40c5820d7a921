import asyncio
import time

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
