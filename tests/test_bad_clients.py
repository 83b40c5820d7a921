"""What bad clients cost a gateway and its good clients: a small form of `make soak`."""

import pytest

from dpm_testkit.bad_clients import SPARE_FILES, crowded, harassed, victim
from dpm_testkit.loiterers import Habit

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

MIB = 1024 * 1024
SPARE_BYTES = 32 * MIB
LOITERERS = 60
"""Of each habit."""

HITS = 500


async def test_whatever_a_client_sends_is_no_500_no_hang_and_no_growth() -> None:
    run = await harassed(1_500, seed=1)
    assert not run.findings
    assert {200, 206, 301, 304, 400, 404, 405, 406, 408, 412, 413, 416, 431} <= set(run.reactions.statuses)
    assert run.served > 0
    assert run.after.files <= run.before.files + SPARE_FILES
    assert run.after.memory <= run.before.memory + SPARE_BYTES


async def test_who_loiters_stops_nobody_and_leaves_nothing_behind() -> None:
    async with victim((100_000, 20 * MIB)) as it:
        await it.hits(HITS)
        before = it.footprint()
        run = await crowded(it, dict.fromkeys(Habit, LOITERERS), HITS)
        assert len(run.served.seconds) == HITS and run.served.again == 0
        assert run.held >= LOITERERS * 3
        assert run.needed.memory <= before.memory + 2 * SPARE_BYTES
        assert run.left.files <= before.files + SPARE_FILES
        assert not it.errors()
