"""What the tests that cross members share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dpm_testkit.memory_way import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.close()
