"""How bodies are answered: to whom listens, to whom has gone, whole and in parts."""

import asyncio
import email
import email.policy
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dpm_core.ecosystem import Page
from dpm_core.errors import AttemptLost
from dpm_gateway.responses import PIECE, CutShort, Representation, body_response, page_response
from dpm_runtime.disk import Descriptor
from dpm_runtime.mounted_files import LoadedBody
from dpm_runtime.outlet import Outlet
from dpm_runtime.serving import serving
from dpm_testkit.patience import soon

Message = MutableMapping[str, Any]
WHOLE = Representation(10, "x/y", '"tag"', headers={"Cache-Control": "immutable"})


class Source:
    """Ten bytes, of which those behind ``shown`` never come."""

    def __init__(self, shown: int = 10) -> None:
        self.shown = shown
        self.released = 0

    async def read(self, offset: int, size: int) -> bytes:
        if offset >= self.shown:
            await asyncio.Event().wait()
        return b"0123456789"[offset : min(self.shown, offset + size)]

    def release(self) -> None:
        self.released += 1


def answering(
    response: Response,
    sent: list[Message],
    gone: asyncio.Event,
    send: Callable[[Message], Awaitable[None]] | None = None,
) -> "asyncio.Task[None]":
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def keep(message: Message) -> None:
        sent.append(message)

    async def run() -> None:
        await response({"type": "http"}, receive, send or keep)

    return asyncio.create_task(run())


def body_of(sent: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in sent)


async def test_a_body_is_sent_and_let_go_of() -> None:
    source, sent = Source(), list[Message]()
    response = body_response("GET", {}, WHOLE, source, source.release)
    await soon(answering(response, sent, asyncio.Event()))
    assert body_of(sent) == b"0123456789"
    assert source.released == 1


async def test_a_client_that_hangs_up_is_not_read_for_any_more() -> None:
    source, sent, gone = Source(shown=4), list[Message](), asyncio.Event()
    running = answering(body_response("GET", {}, WHOLE, source, source.release), sent, gone)
    gone.set()
    await soon(running)
    assert source.released == 1


async def test_a_client_that_never_reads_is_let_go_of_when_it_hangs_up() -> None:
    source, gone, stuck = Source(), asyncio.Event(), asyncio.Event()

    async def send(message: Message) -> None:
        stuck.set()
        await asyncio.Event().wait()

    running = answering(body_response("GET", {}, WHOLE, source, source.release), [], gone, send)
    await stuck.wait()
    assert source.released == 0
    gone.set()
    await soon(running)
    assert source.released == 1


@pytest.mark.parametrize("shown", [4, 10])
async def test_a_real_server_tells_of_a_client_that_hangs_up(shown: int) -> None:
    released = asyncio.Event()
    source, endless = Source(shown), Representation(1 << 40, "x/y", None)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await body_response("GET", {}, endless, Repeated(source), released.set)(scope, receive, send)

    listener = socket.create_server(("127.0.0.1", 0))
    async with serving(app, [listener]):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(4)
        writer.close()
        await soon(asyncio.create_task(released.wait()))


class Repeated:
    """The bytes of a source, over and over."""

    def __init__(self, source: Source) -> None:
        self._source = source

    async def read(self, offset: int, size: int) -> bytes:
        return await self._source.read(offset % 10, size)


@pytest.mark.parametrize("fields", [{}, {"range": "bytes=2-5"}, {"range": "bytes=0-1,-2"}, {"range": "bytes=10-"}])
async def test_a_body_in_memory_is_answered_as_one_that_is_read(fields: dict[str, str]) -> None:
    loaded, source = LoadedBody(b"0123456789"), Source()
    answers = []
    for body, release in ((loaded, loaded.close), (source, source.release)):
        sent = list[Message]()
        response = body_response("GET", fields, WHOLE, body, release)
        await soon(answering(response, sent, asyncio.Event()))
        boundary = response.headers.get("content-type", "").rpartition("boundary=")[2].encode()
        answers.append((response.status_code, len(response.headers), body_of(sent).replace(boundary or b"-", b"")))
    assert answers[0] == answers[1]
    with pytest.raises(ValueError, match="closed"):
        loaded.part(0, 1)


async def test_bytes_that_stop_coming_cut_the_client() -> None:
    class Broken(Source):
        async def read(self, offset: int, size: int) -> bytes:
            if offset >= 4:
                raise AttemptLost("its writer has died")
            return b"0123"

    source, sent = Broken(), list[Message]()
    with pytest.raises(CutShort):
        await soon(answering(body_response("GET", {}, WHOLE, source, source.release), sent, asyncio.Event()))
    assert sent[-1]["more_body"]
    assert source.released == 1


@pytest.mark.parametrize("field", ["bytes=2-3", "bytes=99-"])
def test_a_range_counts_for_get_alone(field: str) -> None:
    source = Source()
    head = body_response("HEAD", {"range": field}, WHOLE, source, source.release)
    assert (head.status_code, head.headers["content-length"], source.released) == (200, "10", 1)


async def test_several_ranges_come_as_parts_that_a_mail_parser_reads() -> None:
    source, sent = Repeated(Source()), list[Message]()
    about = Representation(5000, "x/y", '"tag"')
    response = body_response("GET", {"range": "bytes=1000-1004,-3,0-1"}, about, source)
    await soon(answering(response, sent, asyncio.Event()))
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body_of(sent), policy=email.policy.HTTP)
    parts = [(part["content-type"], part["content-range"], part.get_payload()) for part in message.iter_parts()]
    assert parts == [
        ("x/y", "bytes 1000-1004/5000", "01234"),
        ("x/y", "bytes 4997-4999/5000", "789"),
        ("x/y", "bytes 0-1/5000", "01"),
    ]
    assert response.status_code == 206
    assert "content-range" not in response.headers
    assert int(response.headers["content-length"]) == len(body_of(sent))


@pytest.mark.parametrize("field", ["bytes=0-1", "bytes=0-1,4000-4001"])
def test_a_range_of_another_body_is_none(field: str) -> None:
    request = {"range": field, "if-range": '"another"'}
    answer = body_response("GET", request, Representation(5000, "x/y", '"tag"'), Repeated(Source()))
    assert (answer.status_code, answer.headers["content-length"]) == (200, "5000")


def test_who_wants_another_body_or_none_gets_none() -> None:
    source = Source()
    answer = body_response("GET", {"if-match": '"another"'}, WHOLE, source, source.release)
    assert (answer.status_code, source.released) == (412, 1)
    assert body_response("GET", {"if-match": '"another", "tag"'}, WHOLE, source).status_code == 200


def test_nobody_may_keep_that_a_range_was_out_of_bounds() -> None:
    source = Source()
    answer = body_response("GET", {"range": "bytes=99-"}, WHOLE, source, source.release)
    assert (answer.status_code, answer.headers["content-range"], source.released) == (416, "bytes */10", 1)
    assert "cache-control" not in answer.headers


def test_what_has_no_known_length_is_sent_whole() -> None:
    source = Source()
    answer = body_response("GET", {"range": "bytes=2-3"}, Representation(None, "x/y", '"tag"'), source)
    assert answer.status_code == 200
    assert "content-length" not in answer.headers


async def test_of_a_large_page_no_more_is_handed_out_than_the_client_takes() -> None:
    body, sent, stuck = bytes(range(256)) * 20_000, list[Message](), asyncio.Event()
    full = asyncio.Event()

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 3:
            full.set()
            await stuck.wait()

    response = page_response("GET", {}, Page("text/html", body), None, {})
    running = answering(response, sent, asyncio.Event(), send)
    await soon(asyncio.ensure_future(full.wait()))
    assert 0 < len(body_of(sent)) <= 2 * PIECE
    stuck.set()
    await soon(running)
    assert body_of(sent) == body
    assert response.headers["Content-Length"] == str(len(body))


async def test_a_client_that_breaks_off_while_a_file_is_poured_is_no_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(32_000_000))
    file, pouring, ended = Descriptor.open(path), asyncio.Event(), asyncio.Event()

    class File:
        """Bytes that go past the process."""

        async def pour(self, outlet: Outlet, offset: int, size: int) -> int:
            async def run(turn: Callable[[], None]) -> None:
                await asyncio.to_thread(turn)
                pouring.set()

            return await outlet.pour(file, offset, size, run)

        async def read(self, offset: int, size: int) -> bytes:
            raise AssertionError("nobody is there to read it")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        about = Representation(32_000_000, "x/y", None)
        await body_response("GET", {}, about, File(), ended.set)(scope, receive, send)

    listener = socket.create_server(("127.0.0.1", 0))
    async with serving(app, [listener]):
        for _ in range(20):
            client = socket.create_connection(listener.getsockname())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close is a reset
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await soon(asyncio.ensure_future(pouring.wait()))
            client.close()
            await soon(asyncio.ensure_future(ended.wait()))
            pouring.clear()
            ended.clear()
    file.close()
    assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
