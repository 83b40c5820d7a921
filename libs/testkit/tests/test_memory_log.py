import pytest

from dpm_core.errors import Unavailable
from dpm_testkit.log_conformance import EventLogSuite, LogKit, TapSuite, ref, request
from dpm_testkit.memory_log import MemoryEventLog, MemoryTap


class TestMemoryEventLog(EventLogSuite):
    @pytest.fixture
    def kit(self) -> LogKit:
        log = MemoryEventLog(ack_wait=0.1)
        return LogKit(log, log.put, log.ack_wait)


class TestMemoryTap(TapSuite):
    @pytest.fixture
    def tap(self) -> MemoryTap:
        return MemoryTap()


async def test_a_log_that_is_down_says_so() -> None:
    log = MemoryEventLog(down=True)
    with pytest.raises(Unavailable):
        await log.append(ref().topic, request())
    with pytest.raises(Unavailable):
        await log.last(ref().topic)
