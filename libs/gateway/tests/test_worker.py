"""The process beside a gateway."""

import asyncio
import os

import psutil
import pytest

from dpm_core.errors import Unavailable
from dpm_gateway.worker import Worker
from dpm_testkit.patience import until


async def test_who_dies_is_told_of_and_replaced_and_stands_back_for_others() -> None:
    worker = Worker(nice=3)
    dying = [asyncio.create_task(worker.run(os._exit, 1)) for _ in range(2)]
    for each in dying:
        with pytest.raises(Unavailable, match="died"):
            await each
    assert await worker.run(os.nice, 0) == os.nice(0) + 3
    worker.close()


async def test_a_process_without_work_ends_and_another_one_begins_when_there_is_some() -> None:
    worker = Worker(idle_seconds=0)
    pids = [await worker.run(os.getpid)]
    await until(lambda: not psutil.pid_exists(pids[0]))
    pids.append(await worker.run(os.getpid))
    assert len({os.getpid(), *pids}) == 3
    worker.close()
