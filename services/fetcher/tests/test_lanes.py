from dataclasses import replace

import pytest

from dpm_core.artifacts import Lane
from dpm_fetcher.lanes import Lanes
from dpm_testkit.store_samples import SMALL, want


async def test_a_full_lane_queues_in_order_and_then_refuses() -> None:
    lanes = Lanes({Lane.INDEX: 1, Lane.BLOB: 1}, 8, patience=0.05)
    wheel, page = want(), replace(want(SMALL, "page"), lane=Lane.INDEX)
    async with lanes.slot(wheel):
        async with lanes.slot(page):
            pass  # an index has a lane of its own
        with pytest.raises(Exception, match="no turn in the blob lane"):
            async with lanes.slot(wheel):
                pass
    async with lanes.slot(wheel):
        pass
