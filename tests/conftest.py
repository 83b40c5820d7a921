"""What the tests that cross members share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpm_testkit.memory_way import World
from dpm_testkit.package_server import PackageServer
from dpm_testkit.shop import BALL, KITE, SLED, Shop, publish, wares


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files marked ``long`` begin first: nobody then waits for one of them in the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture
async def upstream() -> AsyncIterator[PackageServer]:
    """An upstream that has nothing yet."""
    async with PackageServer().running() as server:
        yield server


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.close()


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop that has nothing yet."""
    shop = Shop(tmp_path)
    yield shop
    await shop.close()


@pytest.fixture
async def in_use(shop: Shop) -> Shop:
    """A shop of whose first season two wares are held, and a third is not."""
    publish(shop.origin, wares(1, BALL, KITE, SLED))
    await shop.season()
    await shop.buy(BALL, KITE)
    shop.later()
    return shop
