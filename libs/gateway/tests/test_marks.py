import pytest

from dpm_core.registry import from_json
from dpm_core.taps import USED, Used
from dpm_gateway.marks import PART, Marks
from dpm_testkit.clock import ManualClock
from dpm_testkit.memory_log import MemoryTap


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def told(marks: Marks) -> list[Used]:
    tap = MemoryTap()
    await marks.tell(tap)
    assert {name for name, _ in tap.told} <= {USED}
    return [from_json(message, Used) for _, message in tap.told]


async def test_each_artifact_is_told_of_once_with_its_last_use(clock: ManualClock) -> None:
    marks = Marks("gateway-pypi-0", clock)
    marks.note("a")
    await clock.advance(5.0)
    marks.note("a")
    marks.note("b")
    assert await told(marks) == [Used("gateway-pypi-0", {"a": clock.now(), "b": clock.now()})]
    assert await told(marks) == []


async def test_many_uses_are_told_in_parts(clock: ManualClock) -> None:
    marks = Marks("gateway-pypi-0", clock)
    for number in range(2 * PART + 1):
        marks.note(f"{number:032x}")
    assert [len(each.artifacts) for each in await told(marks)] == [PART, PART, 1]
