"""Clients that say too little, too slowly, too much, or take nothing."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dpm_runtime.porter import PIPELINED, Limits, Porter
from dpm_runtime.serving import ACCEPTED_AT_ONCE, UNSENT, serving
from dpm_testkit.patience import eventually, soon, until, wait_on

HEAD = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"
BIG = 32 * 1024 * 1024
PIECE = 64 * 1024


class Bench:
    """A server whose porter has a clock that is set by hand."""

    def __init__(self, limits: Limits) -> None:
        self.now = 0.0
        self.porter = Porter(limits, lambda: self.now)
        self.held = asyncio.Event()
        self.asked: list[str] = []
        self.port = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        self.asked.append(path)
        if path == "/held":
            await self.held.wait()
        if path == "/upload":
            await Request(scope, receive).body()
        if path == "/big":
            pieces = (bytes(PIECE) for _ in range(BIG // PIECE))
            await StreamingResponse(pieces, headers={"Content-Length": str(BIG)})(scope, receive, send)
            return
        await Response(bytes(BIG) if path == "/lump" else path.encode())(scope, receive, send)

    async def connect(self, *, window: int | None = None) -> "Client":
        raw = socket.socket()
        if window:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.port))
        before = self.entered
        reader, writer = await asyncio.open_connection(sock=raw, limit=64 * 1024)
        await until(lambda: self.entered >= before)
        return Client(reader, writer)

    @property
    def entered(self) -> int:
        return len(self.porter._taken)

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.porter.sweep()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, bytes]:
        """One whole answer."""
        head = await soon(asyncio.ensure_future(self.reader.readuntil(b"\r\n\r\n")))
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split(b" ")[1]), await soon(asyncio.ensure_future(self.reader.readexactly(length)))

    async def some(self) -> bytes:
        """Bytes of an answer."""
        data = await soon(asyncio.ensure_future(self.reader.read(64 * 1024)))
        assert data
        return data

    async def closed(self) -> bytes:
        """What comes until the server closes."""
        try:
            return await soon(asyncio.ensure_future(self.reader.read()))
        except ConnectionResetError:
            return b""


Opened = Callable[..., Awaitable[Bench]]


@asynccontextmanager
async def server(**limits: float) -> AsyncIterator[Bench]:
    bench = Bench(Limits(**limits))  # type: ignore[arg-type]
    listener = socket.create_server(("127.0.0.1", 0))
    bench.port = listener.getsockname()[1]
    async with serving(bench, [listener], porter=bench.porter):
        yield bench
        bench.held.set()


async def test_who_never_says_what_it_wants_is_let_go() -> None:
    async with server(head_seconds=10) as bench:
        idle, slow = await bench.connect(), await bench.connect()
        slow.writer.write(b"GET / HTTP/1.1\r\nHo")
        await until(lambda: bench.entered == 2)
        await until(lambda: any(each._head_bytes for each in bench.porter._taken))
        bench.later(9)
        assert bench.entered == 2
        bench.later(2)
        assert await idle.closed() == b""
        assert (await slow.closed()).startswith(b"HTTP/1.1 408 ")
        await until(lambda: bench.entered == 0)


async def test_who_drips_a_head_gains_no_time() -> None:
    async with server(head_seconds=10) as bench:
        client = await bench.connect()
        for byte in HEAD[:6]:
            client.writer.write(bytes([byte]))
            await client.writer.drain()
            bench.later(2)
        assert b"small" not in await client.closed()
        assert not bench.asked


async def test_who_waits_for_an_answer_is_not_late() -> None:
    async with server(head_seconds=10) as bench:
        client = await bench.connect()
        client.writer.write(HEAD.replace(b"small", b"held"))
        await until(lambda: bench.asked)
        bench.later(1000)
        bench.later(1000)
        bench.held.set()
        assert await client.answer() == (200, b"/held")


async def test_a_connection_serves_on_and_has_its_time_again() -> None:
    async with server(head_seconds=10) as bench:
        client = await bench.connect()
        for _ in range(3):
            client.writer.write(HEAD)
            assert await client.answer() == (200, b"/small")
            bench.later(9)
        bench.later(2)
        assert await client.closed() == b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 40_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 2_000_000,
        b"\r\n" * 100_000,
    ],
)
async def test_a_giant_head_is_refused(head: bytes) -> None:
    async with server() as bench:
        client = await bench.connect()
        client.writer.write(head)
        got = await client.closed()
        assert got == b"" or got.startswith(b"HTTP/1.1 431 ")
        assert not bench.asked
        await until(lambda: bench.entered == 0)


async def test_requests_behind_one_another_are_answered_in_order_but_not_thousands() -> None:
    async with server() as bench:
        client = await bench.connect()
        client.writer.write(HEAD.replace(b"small", b"held") + HEAD * (PIPELINED - 1))
        await until(lambda: bench.asked)
        bench.held.set()
        assert await client.answer() == (200, b"/held")
        for _ in range(PIPELINED - 1):
            assert await client.answer() == (200, b"/small")
        bench.held.clear()
        flood = await bench.connect()
        flood.writer.write(HEAD.replace(b"small", b"held") + HEAD * 1000)
        assert await flood.closed() == b""


async def test_the_rest_of_a_body_that_nobody_wants_is_not_waited_for() -> None:
    async with server() as bench:
        client = await bench.connect()
        client.writer.write(b"POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nbeginning")
        assert await client.answer() == (200, b"/small")
        assert await client.closed() == b""


async def test_a_body_that_came_whole_leaves_the_connection_usable() -> None:
    async with server() as bench:
        client = await bench.connect()
        for _ in range(2):
            client.writer.write(b"POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nwhole")
            assert await client.answer() == (200, b"/upload")


async def test_nonsense_behind_a_request_never_lands_in_its_answer() -> None:
    async with server() as bench:
        client = await bench.connect()
        client.writer.write(HEAD.replace(b"small", b"held"))
        await until(lambda: bench.asked)
        client.writer.write(b"\x00\x01 nonsense\r\n\r\n")
        assert await client.closed() == b""


async def test_who_takes_nothing_of_its_answer_is_let_go_and_who_takes_some_is_not() -> None:
    async with server(stall_seconds=60) as bench:
        stalled, slow = await bench.connect(window=4096), await bench.connect()
        for client in (stalled, slow):
            client.writer.write(HEAD.replace(b"small", b"big"))
            await soon(asyncio.ensure_future(client.reader.readuntil(b"\r\n\r\n")))
        got = 0
        for _ in range(5):
            bench.later(61)
            aim = got + 1024 * 1024
            while got < aim:
                got += len(await slow.some())
        bench.later(61)
        await until(lambda: bench.entered == 1)
        while got < BIG:
            got += len(await slow.some())
        assert got == BIG


async def test_a_full_house_makes_room_by_letting_go_who_says_nothing() -> None:
    async with server(connections=3) as bench:
        asking = await bench.connect()
        asking.writer.write(HEAD.replace(b"small", b"held"))
        await until(lambda: bench.asked)
        first, second = await bench.connect(), await bench.connect()
        await until(lambda: bench.entered == 3)
        new = await bench.connect()
        new.writer.write(HEAD)
        assert await new.answer() == (200, b"/small")
        assert b"200" not in await first.closed()
        await wait_on(waiting := asyncio.ensure_future(second.reader.read(1)))
        waiting.cancel()
        bench.held.set()
        assert await asking.answer() == (200, b"/held")


async def test_a_house_full_of_requests_takes_no_more() -> None:
    async with server(connections=2) as bench:
        clients = [await bench.connect() for _ in range(2)]
        for client in clients:
            client.writer.write(HEAD.replace(b"small", b"held"))
        await until(lambda: len(bench.asked) == 2)
        refused = await bench.connect()
        assert (await refused.closed()).startswith(b"HTTP/1.1 503 ")
        bench.held.set()
        for client in clients:
            assert await client.answer() == (200, b"/held")


async def begun(client: Client, what: bytes = b"big") -> None:
    """Let it ask for much, and wait for the first of it."""
    client.writer.write(HEAD.replace(b"small", what))
    await soon(asyncio.ensure_future(client.reader.readuntil(b"\r\n\r\n")))


async def test_a_house_full_of_answers_makes_room_by_letting_go_who_takes_its_own_slowest() -> None:
    async with server(connections=2) as bench:
        stalled, quick = await bench.connect(window=4096), await bench.connect()
        for client in (stalled, quick):
            await begun(client)
        got = 0

        async def one_is_known_as_slow() -> bool:
            nonlocal got
            got += len(await quick.some())
            bench.later(1)
            return len(bench.porter._slow) == 1

        assert await eventually(one_is_known_as_slow)
        for _ in range(3):
            new = await bench.connect()
            new.writer.write(HEAD)
            assert await new.answer() == (200, b"/small")
        while got < BIG:
            got += len(await quick.some())
        assert got == BIG
        assert len(await stalled.closed()) < BIG


async def test_who_has_just_come_is_not_sent_away_for_another_while_somebody_takes_its_answer_slowly() -> None:
    async with server(files=5 + 5 + 5 + 1) as bench:
        slow = [await bench.connect(window=4096) for _ in range(2)]
        for client in slow:
            await begun(client)

        async def both_are_known_as_slow() -> bool:
            bench.later(1)
            return len(bench.porter._slow) == 2

        assert await eventually(both_are_known_as_slow)
        first, second = await bench.connect(), await bench.connect()
        await until(lambda: bench.entered == 4)
        for client in (first, second):
            client.writer.write(HEAD.replace(b"small", b"held"))
        await until(lambda: bench.asked.count("/held") == 2)
        bench.held.set()
        for client in (first, second):
            assert await client.answer() == (200, b"/held")
        await until(lambda: bench.entered == 3)


async def test_who_stalls_in_a_house_half_full_is_let_go_in_the_end() -> None:
    async with server(connections=2, stall_seconds=60) as bench:
        stalled = await bench.connect(window=4096)
        await begun(stalled)

        async def is_gone() -> bool:
            bench.later(1)
            return bench.entered == 0

        assert await eventually(is_gone)


async def test_an_answer_takes_more_files_than_a_connection_that_waits() -> None:
    async with server(files=2 * 5 + 2) as bench:
        idle = [await bench.connect() for _ in range(4)]
        await until(lambda: bench.entered == 4)
        asking = [await bench.connect() for _ in range(2)]
        for client in asking:
            client.writer.write(HEAD.replace(b"small", b"held"))
        await until(lambda: len(bench.asked) == 2)
        for client in idle[:2]:
            assert (await client.closed()).startswith(b"HTTP/1.1 503 ")
        assert bench.entered == 4
        asked_for = await bench.connect()
        asked_for.writer.write(HEAD)
        assert (await asked_for.closed()).startswith(b"HTTP/1.1 503 ")
        bench.held.set()
        for client in asking:
            assert await client.answer() == (200, b"/held")


async def test_who_has_not_taken_its_last_answer_leaves_nothing_behind_when_it_has_to_go() -> None:
    async with server(connections=1) as bench:
        await begun(stalled := await bench.connect(window=4096), b"lump")
        (protocol,) = bench.porter._taken
        await until(lambda: protocol in bench.porter._waiting)
        assert protocol.transport.get_write_buffer_size() > 0
        new = await bench.connect()
        new.writer.write(HEAD)
        assert await new.answer() == (200, b"/small")
        await until(lambda: protocol.transport._sock is None)  # type: ignore[attr-defined]
        assert len(await stalled.closed()) < BIG


async def test_the_system_holds_little_of_what_a_client_does_not_take() -> None:
    async with server() as bench:
        await begun(stalled := await bench.connect(window=4096))
        (protocol,) = bench.porter._taken
        await until(lambda: protocol.transport.get_write_buffer_size() > 0)
        assert protocol.owed - protocol.transport.get_write_buffer_size() <= 2 * UNSENT
        stalled.writer.close()


async def test_a_crowd_that_comes_at_once_waits_to_be_accepted_and_lets_others_have_a_turn() -> None:
    async with server() as bench:
        crowd = []
        for _ in range(4 * ACCEPTED_AT_ONCE):
            raw = socket.create_connection(("127.0.0.1", bench.port))  # nobody accepts meanwhile
            crowd.append(raw)
        most = before = 0
        while bench.entered < len(crowd):
            await asyncio.sleep(0)  # one turn of the loop
            most, before = max(most, bench.entered - before), bench.entered
        assert most <= ACCEPTED_AT_ONCE
        for raw in crowd:
            raw.close()
