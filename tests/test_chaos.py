"""A few rounds of what `make chaos` does in hundreds, and what its faults and clients are made of."""

import random

import pytest

from dpm_testkit import chaos
from dpm_testkit.faults import WHOLE_NODE, Kind, draw


@pytest.mark.long
@pytest.mark.real
@pytest.mark.timeout(900)
async def test_rounds_of_faults_under_load_leave_no_wrong_byte_no_loss_and_no_leak() -> None:
    rounds = await chaos.run(4, seed=5)
    assert all(each.tally.whole == chaos.CLIENTS * chaos.FILES_A_CLIENT for each in rounds)


def test_equal_seeds_draw_equal_faults_and_many_seeds_draw_all() -> None:
    drawn = [draw(random.Random(seed), chaos.PROCESSES) for seed in range(500)]
    assert drawn == [draw(random.Random(seed), chaos.PROCESSES) for seed in range(500)]
    met = {(fault.kind, fault.process) for faults in drawn for fault in faults}
    assert met == {(kind, process) for kind in Kind for process in chaos.PROCESSES} | {(Kind.KILL, WHOLE_NODE)}
