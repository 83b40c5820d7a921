import asyncio

from dpm_testkit.clock import ManualClock


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(time=100.0)
    assert clock.now() == 100.0
    await clock.advance(5)
    assert clock.now() == 105.0


async def test_sleepers_wake_in_order_each_at_its_own_time() -> None:
    clock, woken = ManualClock(time=0.0), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.now()))

    tasks = [asyncio.create_task(sleeper(seconds)) for seconds in (3.0, 1.0, 9.0)]
    await clock.sleepers(3)
    await clock.advance(5)
    assert woken == [(1.0, 1.0), (3.0, 3.0)]
    await clock.advance(5)
    await asyncio.gather(*tasks)
    assert woken[-1] == (9.0, 9.0)


async def test_what_sleeps_again_is_woken_again_within_one_move() -> None:
    clock, ticks = ManualClock(time=0.0), []

    async def ticker() -> None:
        while True:
            await clock.sleep(1.0)
            ticks.append(clock.now())

    task = asyncio.create_task(ticker())
    await clock.sleepers()
    await clock.advance(3.5)
    task.cancel()
    assert ticks == [1.0, 2.0, 3.0]


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1.0))
    await clock.sleepers()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await clock.advance(2.0)
    assert task.cancelled()
