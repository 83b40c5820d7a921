"""A gateway that is a proxy: whom it is asked for, on which connection; and tunnels, where they are allowed."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from starlette.responses import Response

from dpm_core.ecosystem import Refusal, Request
from dpm_gateway.answer import Answer
from dpm_gateway.app import create_app
from dpm_gateway.handler import Handler
from dpm_runtime.porter import Limits, Porter
from dpm_runtime.serving import serving
from dpm_runtime.tunnel import Tunnels
from dpm_testkit.patience import PATIENCE, soon, until

BIG = 3_000_000


class Asked:
    """A handler that keeps what it was asked, and answers with whom it was asked for."""

    ecosystem = "apt"

    def __init__(self, *, proxy: bool = True) -> None:
        self.proxy = proxy
        self.requests: list[Request] = []
        self.told: list[str] = []

    async def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        return Answer("made", Response(f"{request.authority or 'itself'} {request.path}"))

    def refuse(self, request: Request, refusal: Refusal) -> Response:
        return Response(refusal.detail, refusal.status, headers=dict(refusal.headers))

    def tell(self, method: str, path: str, answer: Answer, seconds: float) -> None:
        self.told.append(f"{method} {path} {answer.result}")


class Gateway:
    def __init__(self, handler: Asked, port: int, porter: Porter) -> None:
        self.handler = handler
        self.port = port
        self.porter = porter

    async def connect(self) -> "Client":
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))

    async def ask(self, target: str, host: str, method: str = "GET") -> tuple[int, str]:
        client = await self.connect()
        answer = await client.ask(target, host, method)
        client.writer.close()
        return answer


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, target: str, host: str, method: str = "GET") -> tuple[int, str]:
        self.writer.write(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
        head = (await self.head()).lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        body = await self.exactly(length)
        return int(head.split(" ")[1]), body.decode()

    async def head(self) -> str:
        return (await soon(asyncio.ensure_future(self.reader.readuntil(b"\r\n\r\n")))).decode()

    async def exactly(self, size: int) -> bytes:
        return await soon(asyncio.ensure_future(self.reader.readexactly(size)))

    async def rest(self) -> bytes:
        try:
            return await soon(asyncio.ensure_future(self.reader.read()))
        except ConnectionResetError:
            return b""


@asynccontextmanager
async def gateway(
    handler: Asked | None = None, *, drain: int = 0, idle: float = PATIENCE, **told: Any
) -> AsyncIterator[Gateway]:
    handler = handler or Asked()
    porter = Porter(Limits())
    connect, named = told.get("connect", ()), told.get("named", ())
    tunnels = Tunnels(connect, named, connect_seconds=PATIENCE, idle_seconds=idle)
    app = create_app(cast(Handler, handler), hosts=["node.example"], tunnels=tunnels)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with serving(app, [listener], porter=porter, timeout_graceful_shutdown=drain):
            yield Gateway(handler, listener.getsockname()[1], porter)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def other_end(serve: Serve) -> AsyncIterator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"bye")
    writer.close()


async def test_whom_a_client_asks_for_is_in_the_request() -> None:
    async with gateway() as node:
        assert await node.ask("http://Mirror.Example:80/debian/x?y", "mirror.example") == (
            200, "mirror.example /debian/x",
        )  # fmt: skip
        assert await node.ask("http://127.0.0.1:1/x", "127.0.0.1:1") == (200, "127.0.0.1:1 /x")
        assert await node.ask("http://HTTPS///secure.example/x", "HTTPS") == (200, "https ///secure.example/x")
        assert await node.ask("http://[2001:db8::1]/x", "[2001:db8::1]") == (200, "[2001:db8::1] /x")
    assert node.handler.requests[0].query == "y"


async def test_a_client_that_asks_for_the_node_itself_is_one_as_any_other() -> None:
    async with gateway() as node:
        for name in ("127.0.0.1", "localhost", "node.example"):
            own = f"{name}:{node.port}"
            assert await node.ask(f"http://{own}/mirror.example/x", own) == (200, "itself /mirror.example/x")
            assert await node.ask("/mirror.example/x", own) == (200, "itself /mirror.example/x")


@pytest.mark.parametrize(
    ("target", "host", "why"),
    [
        ("http://mirror.example/x", "other.example", "different hosts"),
        ("http://mirror.example:81/x", "mirror.example", "different hosts"),
        ("http://me@mirror.example/x", "mirror.example", "different hosts"),
        ("https://mirror.example/x", "mirror.example", "HTTPS///"),
        ("http:///x", "mirror.example", ""),
        ("/x", "mirror.example", "does not go by that name"),
        ("mirror.example/x", "mirror.example", ""),
    ],
)
async def test_what_names_two_hosts_or_none_is_a_400(target: str, host: str, why: str) -> None:
    async with gateway() as node:
        status, words = await node.ask(target, host)
        assert (status, node.handler.requests) == (400, [])
        assert why in words


async def test_a_gateway_that_is_no_proxy_is_asked_for_nobody_else() -> None:
    async with gateway(Asked(proxy=False)) as node:
        assert (await node.ask("http://mirror.example/x", "mirror.example"))[0] == 400
        assert (await node.ask("mirror.example:443", "mirror.example:443", "CONNECT"))[0] == 400


async def test_each_connection_has_a_name_of_its_own() -> None:
    async with gateway() as node:
        first, second = await node.connect(), await node.connect()
        for client in (first, second, first):
            await client.ask("http://mirror.example/x", "mirror.example")
        await node.ask("http://mirror.example/x", "mirror.example")
        one, two, again, three = (each.connection for each in node.handler.requests)
        assert one == again
        assert len({one, two, three}) == 3
        assert "" not in (one, two, three)


async def test_unless_they_are_allowed_tunnels_are_a_405_and_the_connection_ends() -> None:
    async with gateway() as node:
        client = await node.connect()
        status, words = await client.ask("mirror.example:443", "mirror.example:443", "CONNECT")
        assert (status, "apt_connect" in words) == (405, True)
        assert await client.rest() == b""


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("mirror.example:80", "mirror.example:80", 403),
        ("other.example:443", "other.example:443", 403),
        ("mirror.example:443", "other.example:443", 400),
        ("mirror.example", "mirror.example", 403),
        ("a@mirror.example:443", "a@mirror.example:443", 400),
        ("mirror.example:443/x", "mirror.example:443", 403),
    ],
)
async def test_a_tunnel_leads_only_to_where_settings_allow_one(target: str, host: str, status: int) -> None:
    async with gateway(connect=["*.example:8443", "mirror.example:443"]) as node:
        assert (await node.ask(target, host, "CONNECT"))[0] == status


async def test_a_tunnel_leads_to_no_private_address_unless_that_is_named() -> None:
    async with other_end(echo) as there:
        async with gateway(connect=["*:*"]) as node:
            status, words = await node.ask(there, there, "CONNECT")
            assert (status, "private range" in words) == (403, True)
        async with gateway(connect=["*:*"], named=["127.0.0.1"]) as node:
            client = await node.connect()
            client.writer.write(f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\n".encode())
            assert (await client.head()).startswith("HTTP/1.1 200 ")


async def test_bytes_pass_both_ways_also_those_behind_the_head() -> None:
    async with other_end(echo) as there, gateway(connect=[there]) as node:
        client = await node.connect()
        client.writer.write(f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\nearly".encode())
        assert (await client.head()).partition("\r\n")[0] == "HTTP/1.1 200 Connection established"
        assert await client.exactly(5) == b"early"
        client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await client.exactly(18) == b"GET / HTTP/1.1\r\n\r\n"
        sent = bytes(range(256)) * (BIG // 256)
        client.writer.write(sent)
        assert await client.exactly(len(sent)) == sent
        client.writer.write_eof()
        assert await client.rest() == b"bye"
        assert node.handler.told == [f"CONNECT {there} tunnel"]
        assert node.handler.requests == []
        await until(lambda: not node.porter._taken)


async def test_when_one_side_goes_the_other_is_let_go() -> None:
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        if await reader.read(3) == b"end":
            writer.close()
        else:
            await reader.read()
            ended.set()
            writer.close()

    async with other_end(serve) as there, gateway(connect=[there]) as node:
        head = f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\n".encode()
        first = await node.connect()
        first.writer.write(head + b"end")
        assert (await first.rest()).endswith(b"\r\n\r\nhello")
        second = await node.connect()
        second.writer.write(head + b"...")
        await second.head()
        second.writer.transport.abort()
        await soon(asyncio.ensure_future(ended.wait()))
        await until(lambda: not node.porter._taken)


async def test_a_tunnel_in_which_nothing_moves_is_closed() -> None:
    async with other_end(echo) as there, gateway(connect=[there], idle=0.05) as node:
        client = await node.connect()
        client.writer.write(f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\n".encode())
        assert (await client.rest()).endswith(b"\r\n\r\n")
        await until(lambda: not node.porter._taken)


async def test_a_gateway_that_ends_waits_for_no_tunnel() -> None:
    async with other_end(echo) as there:
        async with gateway(connect=[there]) as node:
            client = await node.connect()
            client.writer.write(f"CONNECT {there} HTTP/1.1\r\nHost: {there}\r\n\r\n".encode())
            await client.head()
        assert await client.rest() == b""


async def test_where_nobody_listens_there_is_no_tunnel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        there = f"127.0.0.1:{listener.getsockname()[1]}"
    async with gateway(connect=[there]) as node:
        status, words = await node.ask(there, there, "CONNECT")
        assert (status, "no connection" in words) == (503, True)
