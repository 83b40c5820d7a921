"""What rude clients send, and that they notice what must not be answered to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from dpm_testkit.rude_answers import Garbled, answers
from dpm_testkit.rude_clients import Reactions, harass
from dpm_testkit.rude_requests import drawn

PATHS = ["/simple/held/"]
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_equal_numbers_draw_equal_bytes_and_many_numbers_all_kinds() -> None:
    some = [drawn(1, number, PATHS).data for number in range(3_000)]
    assert some == [drawn(1, number, PATHS).data for number in range(3_000)]
    assert some != [drawn(2, number, PATHS).data for number in range(3_000)]
    for trick in (
        b"HTTP/1.0",
        b"evil.example",
        b"\nRange: ",
        b"%252",
        b"..",
        b"chunked",
        b"If-Match",
        b"PRI * HTTP/2",
    ):
        assert any(trick in data for data in some), trick
    assert any(data.count(b"Host:") > 20 for data in some)
    assert max(map(len, some)) > 200_000
    assert any(len(drawn(1, number, PATHS).parts) > 3 for number in range(100))


@pytest.mark.parametrize(
    ("said", "statuses"),
    [
        (b"", []),
        (FINE, [200]),
        (
            b"HTTP/1.1 100 Continue\r\n\r\n" + FINE + b"HTTP/1.1 304 Not Modified\r\n\r\n" + FINE,
            [100, 200, 304, 200],
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + FINE, [200, 200]),
        (b"HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + FINE, [404, 200]),
    ],
)
def test_answers_are_told_apart(said: bytes, statuses: list[int]) -> None:
    assert [answer.status for answer in answers(said)] == statuses


@pytest.mark.parametrize(
    "said",
    [b"hello", FINE + b"x", FINE[:-1], b"HTTP/1.1 200 OK\r\nX y\r\n\r\n", FINE[:10], b"HTTP/1.1 600 X\r\n\r\n",
     b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", b"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"],
)  # fmt: skip
def test_a_byte_that_belongs_to_no_answer_is_noticed(said: bytes) -> None:
    with pytest.raises(Garbled):
        answers(said)


def test_where_the_connection_broke_off_the_last_answer_may_be_short() -> None:
    assert [answer.status for answer in answers(FINE + FINE[:-1], cut=True)] == [200]
    assert not answers(FINE[:10], cut=True)


@asynccontextmanager
async def saying(answer: Callable[[], bytes]) -> AsyncIterator[str]:
    """The URL of a server that says this, whatever it is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield "http://{}:{}/".format(*server.sockets[0].getsockname())


async def reactions_to(said: bytes) -> Reactions:
    async with saying(lambda: said) as url:
        return await harass(url, PATHS, [b"hi"], range(8), seed=1)


async def test_what_is_as_it_should_be_is_no_finding() -> None:
    reactions = await reactions_to(
        FINE.replace(b"\r\n\r\n", b"\r\nContent-Type: application/octet-stream\r\n\r\n")
    )
    assert not reactions.findings and set(reactions.statuses) <= {200}


@pytest.mark.parametrize(
    "said",
    [FINE.replace(b"200", b"500"), b"nonsense",
     FINE.replace(b"\r\n\r\nhi", b"\r\nContent-Type: application/octet-stream\r\n\r\nho")],
)  # fmt: skip
async def test_what_should_not_be_is_found(said: bytes) -> None:
    assert (await reactions_to(said)).findings
