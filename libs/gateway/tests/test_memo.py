import asyncio

import pytest

from dpm_gateway.memo import Memo


async def test_all_who_ask_meanwhile_share_one_computation() -> None:
    memo: Memo[str, int] = Memo(10)
    calls = 0
    go = asyncio.Event()

    async def compute() -> int:
        nonlocal calls
        calls += 1
        await go.wait()
        return 7

    asking = [asyncio.create_task(memo.get("a", compute)) for _ in range(5)]
    await asyncio.wait(asking, timeout=0, return_when=asyncio.FIRST_COMPLETED)
    go.set()
    assert await asyncio.gather(*asking) == [7] * 5
    assert await memo.get("a", compute) == 7
    assert calls == 1


async def test_a_failure_is_told_to_all_and_not_kept() -> None:
    memo: Memo[str, int] = Memo(10)

    async def fail() -> int:
        raise LookupError

    async def work() -> int:
        return 1

    with pytest.raises(LookupError):
        await memo.get("a", fail)
    assert await memo.get("a", work) == 1


async def test_what_was_prepared_is_not_computed_again() -> None:
    memo: Memo[str, int] = Memo(10)
    calls = 0

    async def compute() -> int:
        nonlocal calls
        calls += 1
        return 7

    memo.prepare("a", compute)
    assert await memo.get("a", compute) == 7
    memo.prepare("a", compute)
    assert calls == 1


async def test_the_least_used_goes_when_the_weight_is_too_much() -> None:
    memo: Memo[str, str] = Memo(3, len)
    computed: list[str] = []

    async def ask(key: str) -> str:
        async def compute() -> str:
            computed.append(key)
            return key * 1

        return await memo.get(key, compute)

    for key in ("a", "b", "a", "cc", "a", "b"):
        await ask(key)
    assert computed == ["a", "b", "cc", "b"]
