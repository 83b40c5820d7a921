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

MIB = 1024 * 1024


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


async def test_a_link_comes_back_though_its_client_fails_while_it_closes(home: Home) -> None:
    """The bus dies while much waits to be sent: the client raises at its own end, and never says that it came."""
    make_seeds(home, ["fusefs"])
    callers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version": "2.11.0", "nonce": "n", "max_payload": 1048576}\r\n')
        while await reader.readline() != b"PING\r\n":
            pass
        writer.write(b"PONG\r\n")
        callers.append(writer)  # and reads no more

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = Link(f"nats://127.0.0.1:{port}", "fusefs", home.key("fusefs"), timeout=1.0)
    async with link.kept():
        client = (await link.up()).client
        sending = [asyncio.create_task(link.publish("any", bytes(MIB))) for _ in range(32)]
        await until(
            lambda: client.stats["out_msgs"] == 32 and client.pending_data_size == 0
        )  # the connection is full
        sending.append(asyncio.create_task(link.publish("any", b"waits to be sent")))
        await until(lambda: client.pending_data_size > 0)
        callers[0].transport.abort()
        await until(lambda: len(callers) >= 2 and link.connected)
        for each in sending:
            each.cancel()
    server.close()
