"""The operator's commands on a real socket: what is said meanwhile, how they end, and who may ask."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from dpm_core.errors import Invalid, Unavailable
from dpm_fetcher.commands import Command, Say, commands_app
from dpm_runtime.serving import serving_on_socket
from dpm_testkit.patience import soon


@dataclass(frozen=True)
class Count:
    to: int


class Counting:
    def __init__(self) -> None:
        self.cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def count(self, command: Count, say: Say) -> Count:
        for number in range(command.to):
            say(str(number))
        return command

    async def fail(self, command: Count, say: Say) -> None:
        say("trying")
        raise Unavailable("the disk is full", advice="free some") if command.to else Invalid("to what?")

    async def break_down(self, command: Count, say: Say) -> None:
        raise RuntimeError

    async def hang(self, command: Count, say: Say) -> None:
        say("hanging")
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set_result(None)


@pytest.fixture
async def counting() -> Counting:
    return Counting()


@pytest.fixture
async def socket(tmp_path: Path, counting: Counting) -> AsyncIterator[Path]:
    path = tmp_path / "s.sock"
    commands = [
        Command("count", Count, counting.count),
        Command("fail", Count, counting.fail),
        Command("break", Count, counting.break_down),
        Command("hang", Count, counting.hang),
    ]
    async with serving_on_socket(commands_app(commands), path):
        yield path


async def ask(socket: Path, command: str, body: bytes) -> list[dict[str, object]]:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
        session.post(f"http://fetcher/{command}", data=body) as answer,
    ):
        assert answer.status == 200
        return [json.loads(line) for line in (await answer.read()).splitlines()]


async def test_what_is_said_comes_before_what_was_done(socket: Path) -> None:
    assert await ask(socket, "count", b'{"to": 2}') == [{"say": "0"}, {"say": "1"}, {"done": {"to": 2}}]


async def test_an_error_says_what_to_do(socket: Path) -> None:
    said, error = await ask(socket, "fail", b'{"to": 1}')
    assert said == {"say": "trying"}
    assert error == {"error": "the disk is full", "advice": "free some", "invalid": False}
    assert (await ask(socket, "fail", b'{"to": 0}'))[-1] == {"error": "to what?", "advice": "", "invalid": True}


@pytest.mark.parametrize("body", [b"", b"{", b'{"to": "many"}', b"[]", b"\xff"])
async def test_a_command_that_means_nothing_is_refused(socket: Path, body: bytes) -> None:
    (refused,) = await ask(socket, "count", body)
    assert refused["invalid"] is True


async def test_a_fault_is_told_without_its_innards(socket: Path) -> None:
    assert await ask(socket, "break", b'{"to": 1}') == [
        {"error": "the fetcher failed, see its log", "advice": "", "invalid": False}
    ]


async def test_a_command_ends_with_who_asked(socket: Path, counting: Counting) -> None:
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as session,
        session.post("http://fetcher/hang", data=b'{"to": 1}') as answer,
    ):
        assert await answer.content.readline() == b'{"say": "hanging"}\n'
    await soon(counting.cancelled)


async def test_only_its_user_may_ask(socket: Path) -> None:
    assert socket.stat().st_mode & 0o777 == 0o600
