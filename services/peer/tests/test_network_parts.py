"""What a network is put together from: its files, its ports, and works of which none may fail alone."""

import asyncio
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from dpm_core.errors import Invalid, Unavailable
from dpm_core.networks import Network
from dpm_core.swarm_keys import SwarmKey
from dpm_peer import kubo_program
from dpm_peer.network_files import NetworkFiles
from dpm_peer.network_life import until_one_ends
from dpm_peer.room import NotMember

NETWORK = Network(
    name="team",
    room="!room:matrix.example",
    homeserver="https://matrix.example/",
    user="@anna:matrix.example",
    device="NODE",
    token="secret",
    keepers={},
    box="0" * 64,
    box_secret="1" * 64,
)
KEY = SwarmKey(bytes(32))


def test_what_a_network_is_is_read_as_it_was_written_and_nobody_else_reads_it(tmp_path: Path) -> None:
    files = NetworkFiles(tmp_path)
    files.keep(NETWORK, KEY)
    assert (files.network(), files.key()) == (NETWORK, KEY)
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()} == {0o600}
    other = SwarmKey(b"\1" * 32)
    files.keep(NETWORK, other)
    files.keep(NETWORK, None)
    assert files.key() == other


def test_a_network_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    files = NetworkFiles(tmp_path)
    with pytest.raises(OSError):
        files.network()
    (tmp_path / "network.json").write_text("{}")
    files.swarm_key.write_bytes(b"\xff")
    with pytest.raises(Invalid):
        files.network()
    with pytest.raises(Invalid):
        files.key()


def test_without_kubo_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path / "checkout" / ".venv"))
    with pytest.raises(Unavailable) as raised:
        kubo_program.find({"PATH": ""})
    assert "make ipfs" in raised.value.advice
    built = tmp_path / "checkout" / ".tools" / "bin" / "ipfs"
    built.parent.mkdir(parents=True)
    built.write_text("#!/bin/sh\n")
    built.chmod(0o700)
    assert kubo_program.find({"PATH": ""}) == built


class Works:
    def __init__(self) -> None:
        self.cancelled = 0

    async def lasting(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled += 1

    async def fails(self, error: Exception) -> None:
        raise error


async def in_a_group(work: Coroutine[Any, Any, None]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(work)


async def test_when_one_work_fails_all_end_and_it_is_said_why() -> None:
    works = Works()
    with pytest.raises(Unavailable, match="no disk"):
        await until_one_ends([works.lasting(), in_a_group(works.fails(Unavailable("no disk"))), works.lasting()])
    assert works.cancelled == 2


async def test_that_all_is_over_counts_more_than_that_something_fails() -> None:
    works = Works()
    with pytest.raises(NotMember):
        await until_one_ends([works.fails(Unavailable("no disk")), works.fails(NotMember("you were removed"))])


async def test_who_ends_it_ends_all() -> None:
    works = Works()
    running = asyncio.ensure_future(until_one_ends([works.lasting(), works.lasting()]))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert works.cancelled == 2
