"""Bytes that leave a file for a socket without passing through the process."""

import asyncio
import errno
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from dpm_runtime import outlet, pouring
from dpm_runtime.daemon_pool import DaemonPool
from dpm_runtime.disk import Descriptor
from dpm_runtime.mount_reads import MountAway
from dpm_runtime.outlet import EXTENSION, Outlet, Run
from dpm_runtime.pouring import TURN
from dpm_runtime.serving import serving
from dpm_testkit.patience import soon, until

SIZE = TURN + 5_000_000
HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def file(tmp_path: Path, content: bytes) -> Descriptor:
    path = tmp_path / "file"
    path.write_bytes(content)
    return Descriptor.open(path)


async def in_thread(work: Callable[[], None]) -> None:
    await asyncio.to_thread(work)


class Served:
    """Serves a file by its outlet, the rest by reading; ``poured`` is what went by the outlet, an answer."""

    def __init__(self, file: Descriptor, content: bytes, run: Run, start: int, size: int, crowded: bool) -> None:
        self._file, self._content, self._run, self._start, self._size = file, content, run, start, size
        self._crowded = crowded
        self.poured: list[int] = []
        self.port = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", str(self._size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        way_out = scope["extensions"][EXTENSION]
        assert isinstance(way_out, Outlet)
        sent = await way_out.pour(self._file, self._start, self._size, self._run, lambda: self._crowded)
        self.poured.append(sent)
        assert way_out.sent == sent
        rest = self._content[self._start + sent : self._start + self._size]
        await send({"type": "http.response.body", "body": rest, "more_body": False})


@asynccontextmanager
async def served(
    file: Descriptor,
    content: bytes,
    run: Run = in_thread,
    start: int = 0,
    size: int = SIZE,
    *,
    crowded: bool = True,
) -> AsyncIterator[Served]:
    app = Served(file, content, run, start, size, crowded)
    listener = socket.create_server(("127.0.0.1", 0))
    app.port = listener.getsockname()[1]
    async with serving(app, [listener]):
        yield app


def received(client: socket.socket, size: int) -> None:
    """Take so many bytes behind the head of an answer as quickly as can be."""
    got = client.recv(65536)
    left = size - len(got.partition(b"\r\n\r\n")[2])
    while left:
        left -= len(client.recv(min(left, 1 << 20)))


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def body(reader: asyncio.StreamReader, size: int = SIZE) -> bytes:
    await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(size)


async def test_a_file_arrives_whole_and_the_connection_serves_on(file: Descriptor, content: bytes) -> None:
    async with served(file, content) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        for _ in range(2):
            writer.write(HEAD)
            assert await soon(asyncio.create_task(body(reader))) == content
        writer.close()
    assert app.poured == [SIZE, SIZE]


async def test_a_part_of_a_file_arrives(file: Descriptor, content: bytes) -> None:
    async with served(file, content, start=777, size=1_500_000) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(HEAD)
        assert await body(reader, 1_500_000) == content[777 : 777 + 1_500_000]
        writer.close()


async def test_what_a_mount_does_not_give_goes_on_by_other_means_without_a_byte_twice(
    file: Descriptor, content: bytes
) -> None:
    done = 0

    async def gives_up(work: Callable[[], None]) -> None:
        nonlocal done
        done += 1
        if done == 2:
            raise MountAway
        await asyncio.to_thread(work)

    async with served(file, content, gives_up) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(HEAD)
        assert await body(reader) == content
        writer.close()
    assert 0 < app.poured[0] < SIZE


async def test_a_thread_that_comes_back_after_it_was_given_up_sends_nothing(
    file: Descriptor, content: bytes
) -> None:
    begin, ended = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def stuck(work: Callable[[], None]) -> None:
        def late() -> None:
            begin.wait(60)
            work()
            loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=late, daemon=True).start()
        raise MountAway

    async with served(file, content, stuck) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(HEAD)
        assert await body(reader) == content
        begin.set()
        await ended.wait()
        begin.clear()  # or the second thread might begin before it is given up
        writer.write(HEAD)
        assert await body(reader) == content
        begin.set()
        writer.close()
    assert app.poured == [0, 0]


async def test_who_is_given_up_while_it_sends_is_asked_how_much_went(
    file: Descriptor, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, go_on = threading.Event(), threading.Event()
    send = os.sendfile

    def late(out: int, source: int, offset: int, count: int) -> int:
        sent = send(out, source, offset, count)
        sending.set()
        go_on.wait(60)
        return sent

    async def given_up(work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()
        await asyncio.to_thread(sending.wait, 60)
        asyncio.get_running_loop().call_soon(go_on.set)
        raise MountAway

    monkeypatch.setattr(os, "sendfile", late)
    monkeypatch.setattr(pouring, "QUICK", 0)
    async with served(file, content, given_up) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(HEAD)
        assert await soon(asyncio.create_task(body(reader))) == content
        writer.close()
    assert 0 < app.poured[0] < SIZE


async def test_a_client_of_whom_nobody_knows_what_it_was_sent_is_cut_off(
    file: Descriptor, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, go_on = threading.Event(), threading.Event()

    def stuck(out: int, source: int, offset: int, count: int) -> int:
        sending.set()
        go_on.wait(60)
        return 0

    async def given_up(work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True).start()
        await asyncio.to_thread(sending.wait, 60)
        raise MountAway

    monkeypatch.setattr(os, "sendfile", stuck)
    monkeypatch.setattr(pouring, "QUICK", 0)
    monkeypatch.setattr(outlet, "PARTING_SECONDS", 0.01)
    async with served(file, content, given_up) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(HEAD)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await soon(asyncio.create_task(body(reader)))
        writer.close()
        go_on.set()
    assert app.poured == []


async def test_a_thread_goes_on_unless_others_wait_for_it(file: Descriptor, content: bytes) -> None:
    for crowded in (True, False):
        turns = 0

        async def counted(work: Callable[[], None]) -> None:
            nonlocal turns
            turns += 1
            await asyncio.to_thread(work)

        async with served(file, content, counted, crowded=crowded) as app:
            with socket.create_connection(("127.0.0.1", app.port)) as client:
                client.sendall(HEAD)
                await asyncio.to_thread(received, client, SIZE)
        assert app.poured == [SIZE]
        assert turns > 1 or not crowded


async def test_where_no_files_are_left_a_body_goes_by_other_means(
    file: Descriptor, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(flags: int) -> tuple[int, int]:
        raise OSError(errno.EMFILE, "too many open files")

    async with served(file, content) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        before = open_descriptors()
        monkeypatch.setattr(os, "pipe2", none_left)
        writer.write(HEAD)
        assert await body(reader) == content
        assert open_descriptors() == before
        writer.close()
    assert app.poured == [0]


async def test_clients_that_read_nothing_hold_no_thread(file: Descriptor, content: bytes) -> None:
    pool = DaemonPool("pour", 2)

    async def in_pool(work: Callable[[], None]) -> None:
        await asyncio.wrap_future(pool.submit(work))

    async with served(file, content, in_pool) as app:
        slow = [await asyncio.open_connection("127.0.0.1", app.port, limit=1024) for _ in range(8)]
        for _, writer in slow:
            writer.write(HEAD)
        for reader, _ in slow:
            await reader.readuntil(b"\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
        writer.write(HEAD)
        assert await soon(asyncio.create_task(body(reader))) == content
        for _, each in [*slow, (reader, writer)]:
            each.close()
    pool.close()


async def test_a_client_that_hangs_up_leaves_no_descriptor(file: Descriptor, content: bytes) -> None:
    async with served(file, content) as app:
        before = open_descriptors()
        reader, writer = await asyncio.open_connection("127.0.0.1", app.port, limit=1024)
        writer.write(HEAD)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        await until(lambda: open_descriptors() <= before)


async def test_no_part_of_an_answer_waits_for_the_client_to_confirm_another() -> None:
    at_once: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope["extensions"][EXTENSION].connection
        at_once.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    listener = socket.create_server(("127.0.0.1", 0))
    async with serving(app, [listener]):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(HEAD)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert at_once == [1]
