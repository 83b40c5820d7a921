"""Networks come, go and fail, each by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from dpm_core.errors import Invalid, Unavailable
from dpm_peer.networks import Networks
from dpm_peer.room import NotMember
from dpm_testkit.clock import LeapingClock
from dpm_testkit.patience import until


@dataclass
class Team:
    """A network that lives until ``ends`` has what it raises."""

    name: str
    ends: "asyncio.Queue[Exception]" = field(default_factory=asyncio.Queue)

    def present(self) -> dict[str, int]:
        return {"others": 3, "connected": 2}

    async def run(self) -> None:
        raise await self.ends.get()


class Bench:
    """Networks of these ``names``; ``refuses`` are raised by the next ones that are opened."""

    def __init__(self) -> None:
        self.names = ["team"]
        self.refuses: list[Exception] = []
        self.open: dict[str, Team] = {}
        self.opened = 0
        self.networks = Networks(lambda: self.names, self._open, LeapingClock(0.01))
        self.keeping = asyncio.ensure_future(self.networks.kept())

    @asynccontextmanager
    async def _open(self, name: str) -> AsyncIterator[Any]:
        self.opened += 1
        if self.refuses:
            raise self.refuses.pop(0)
        self.open[name] = Team(name)
        try:
            yield self.open[name]
        finally:
            del self.open[name]

    def life(self, name: str = "team") -> object:
        return self.networks.health().get(name, {}).get("life")

    def living(self) -> list[str]:
        return sorted(each.name for each in self.networks.living())


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.keeping.cancel()
    await asyncio.gather(bench.keeping, return_exceptions=True)
    assert bench.open == {}


async def test_what_has_a_folder_lives(bench: Bench) -> None:
    await until(lambda: bench.living() == ["team"])
    assert bench.life() == "running"


async def test_one_that_comes_meanwhile_lives_and_one_that_goes_ends(bench: Bench) -> None:
    await until(lambda: bench.living() == ["team"])
    bench.names = ["friends"]
    bench.networks.look()
    await until(lambda: bench.living() == ["friends"])
    assert list(bench.open) == ["friends"]
    assert bench.life("team") is None


@pytest.mark.parametrize(
    "error", [Unavailable("no Kubo"), Invalid("no key"), OSError("disk"), ValueError("a bug")]
)
async def test_one_that_fails_is_tried_again(bench: Bench, error: Exception) -> None:
    await until(lambda: bench.living() == ["team"])
    bench.refuses = [error, error]
    bench.open["team"].ends.put_nowait(error)
    await until(lambda: bench.opened == 4 and bench.living() == ["team"])


async def test_one_that_fails_leaves_the_others_alone(bench: Bench) -> None:
    bench.names = ["friends", "team"]
    await until(lambda: bench.living() == ["friends", "team"])
    friends = bench.open["friends"]
    bench.refuses = [Unavailable("no Kubo")] * 1000
    bench.open["team"].ends.put_nowait(Unavailable("no Kubo"))
    await until(lambda: bench.life() == "failing")
    assert bench.open["friends"] is friends


async def test_who_was_removed_from_the_room_does_not_knock_again(bench: Bench) -> None:
    await until(lambda: bench.living() == ["team"])
    bench.open["team"].ends.put_nowait(NotMember("you are no member"))
    await until(lambda: bench.life() == "over")
    assert bench.living() == []
    bench.names = []
    await until(lambda: bench.life() is None)
    bench.names = ["team"]
    await until(lambda: bench.living() == ["team"])
    assert bench.opened == 2
