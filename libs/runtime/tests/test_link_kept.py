"""A connection to the bus is tried for again, whatever answered the last time."""

import asyncio
from contextlib import suppress
from unittest.mock import AsyncMock

import pytest
from nats.aio.client import Client

from dpm_runtime.home import Home
from dpm_runtime.nats_link import Link
from dpm_runtime.nkey_files import make_seeds
from dpm_testkit.patience import soon, until


async def test_a_link_goes_on_trying_after_an_answer_that_means_nothing(home: Home) -> None:
    make_seeds(home, ["fusefs"])
    callers: list[None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(None)
        writer.write(b'INFO {"nonce": 1, "auth_required": true}\r\n')
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    keeping = asyncio.create_task(
        Link(f"nats://127.0.0.1:{port}", "fusefs", home.key("fusefs"), timeout=1.0).keep()
    )
    try:
        await until(lambda: len(callers) >= 3 or keeping.done())
        assert not keeping.done()
    finally:
        server.close()
        keeping.cancel()
        await soon(asyncio.ensure_future(asyncio.gather(keeping, return_exceptions=True)))


async def test_a_link_ends_though_the_client_lost_the_word(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    make_seeds(home, ["fusefs"])
    connecting = asyncio.Event()

    async def connect(*_: object, **__: object) -> None:
        connecting.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        raise OSError("it was closed")

    monkeypatch.setattr(Client, "connect", connect)
    monkeypatch.setattr(Client, "close", AsyncMock())
    keeping = asyncio.create_task(Link("nats://127.0.0.1:1", "fusefs", home.key("fusefs")).keep())
    await soon(asyncio.ensure_future(connecting.wait()))
    keeping.cancel()
    await soon(asyncio.ensure_future(asyncio.wait({keeping})))
    assert keeping.cancelled()
