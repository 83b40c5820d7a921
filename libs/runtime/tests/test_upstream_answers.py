import asyncio
import gzip
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from dpm_core.artifacts import ArtifactRef, Lane, Validators, Want
from dpm_core.digests import Digest
from dpm_core.errors import Unavailable
from dpm_core.origins import NotHeld, NotModified, Opened
from dpm_runtime.upstream import UpstreamOrigin
from dpm_runtime.upstream_answer import told_validators
from dpm_runtime.wire import Deadlines
from dpm_testkit.faulty_server import Act, Exchange, FaultyServer
from dpm_testkit.origin_conformance import drained

QUICK = Deadlines(connect=2, first_byte=2, stall=0.3)
PAGE = b"a page " * 100_000
BODY = os.urandom(100_000)


@asynccontextmanager
async def upstream(act: Act) -> AsyncIterator[tuple[UpstreamOrigin, Want]]:
    """An origin, and what it is asked for: a page of a server that does this."""
    async with FaultyServer(act).running() as server, UpstreamOrigin(QUICK) as origin:
        yield origin, Want(ArtifactRef("test", server.url, "page"), "page", server.url + "page", Lane.INDEX)


def file(want: Want) -> Want:
    return replace(want, lane=Lane.BLOB, digests=(Digest("sha256:" + "0" * 64),))


def says(status: str, body: bytes = b"", *fields: str) -> Act:
    async def act(exchange: Exchange) -> None:
        await exchange.answer(status, body, *fields)

    return act


async def got(origin: UpstreamOrigin, want: Want, offset: int = 0) -> bytes:
    opened = await origin.open(want, offset)
    assert isinstance(opened, Opened)
    return await drained(opened)


@pytest.mark.parametrize("pack", [gzip.compress, lambda page: gzip.compress(page[:9]) + gzip.compress(page[9:])])
async def test_a_packed_page_is_unpacked(pack: Callable[[bytes], bytes]) -> None:
    async with upstream(says("200 OK", pack(PAGE), "Content-Encoding: gzip")) as (origin, want):
        assert await got(origin, want) == PAGE


async def test_the_fields_that_are_to_be_kept_come_with_the_body() -> None:
    sent = ("Link: </a>", "Link: </b>", "Other: 1", "X-Word: wörd")
    async with upstream(says("200 OK", b"tags", *sent)) as (origin, want):
        opened = await origin.open(replace(want, keeps=("link", "missing", "x-word")))
        assert isinstance(opened, Opened)
        assert await drained(opened) == b"tags"
        assert opened.fields == (("link", "</a>, </b>"),)


CHANGED, NEXT = "Mon, 16 Nov 2026 10:00:00 GMT", "Mon, 16 Nov 2026 10:00:01 GMT"
OWN, DATED = '"5f3a-own"', f'"{1794823200:x}-1f4"'
"""ETags: of a server that made it of the bytes, and of one that made it of date and size."""


@pytest.mark.parametrize(
    ("answered", "etag", "expected"),
    [
        (NEXT, DATED, Validators(DATED, CHANGED)),
        (CHANGED, DATED, Validators()),
        (CHANGED, f"W/{DATED}", Validators()),
        (CHANGED, OWN, Validators(OWN)),
        ("Mon, 16 Nov 2026 09:00:00 GMT", DATED, Validators()),
        (None, DATED, Validators(DATED, CHANGED)),
        ("long ago", OWN, Validators(OWN, CHANGED)),
    ],
)
def test_in_the_second_that_it_names_a_date_tells_no_body_from_another(
    answered: str | None, etag: str, expected: Validators
) -> None:
    headers = {"ETag": etag, "Last-Modified": CHANGED} | ({"Date": answered} if answered else {})
    assert told_validators(headers) == expected


@pytest.mark.parametrize("sent", [gzip.compress(PAGE)[:-20], gzip.compress(PAGE)[:-3], b"no gzip at all", b""])
async def test_a_page_that_is_not_packed_as_it_says_is_not_taken(sent: bytes) -> None:
    async with upstream(says("200 OK", sent, "Content-Encoding: gzip")) as (origin, want):
        with pytest.raises(Unavailable, match="packed"):
            await got(origin, want)


async def test_a_page_packed_as_nobody_asked_is_not_taken() -> None:
    async with upstream(says("200 OK", b"?", "Content-Encoding: br")) as (origin, want):
        with pytest.raises(Unavailable, match="Content-Encoding br") as caught:
            await got(origin, want)
        assert caught.value.lasting


async def test_of_a_file_the_bytes_count_whatever_they_are_called() -> None:
    packed = gzip.compress(b"an archive")
    async with upstream(says("200 OK", packed, "Content-Encoding: gzip")) as (origin, want):
        opened = await origin.open(file(want))
        assert isinstance(opened, Opened)
        assert opened.length == len(packed)
        assert await drained(opened) == packed
        with pytest.raises(Unavailable, match="Content-Encoding"):  # and nothing would tell if they are right
            await origin.open(replace(want, lane=Lane.BLOB))


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("416 Range Not Satisfiable", ["Content-Range: bytes */10"]),
        ("206 Partial Content", ["Content-Range: bytes 7-9/10"]),
        ("206 Partial Content", ["Content-Type: multipart/byteranges; boundary=x"]),
    ],
)
async def test_who_has_not_the_part_is_asked_for_the_whole(status: str, fields: list[str]) -> None:
    async def act(exchange: Exchange) -> None:
        if exchange.start:
            await exchange.answer(status, b"", *fields)
        else:
            await exchange.answer("200 OK", BODY)

    async with upstream(act) as (origin, want):
        opened = await origin.open(file(want), 5000)
        assert isinstance(opened, Opened)
        assert opened.offset == 0
        assert await drained(opened) == BODY


@pytest.mark.parametrize(
    "status", ["400 Bad Request", "416 No", "418 Teapot", "204 No Content", "206 Partial Content"]
)
async def test_an_answer_that_makes_no_sense_will_make_none_in_a_moment(status: str) -> None:
    async with upstream(says(status)) as (origin, want):
        with pytest.raises(Unavailable, match=status[:3]) as caught:
            await origin.open(want)
        assert caught.value.lasting
        assert caught.value.status == int(status[:3])


@pytest.mark.parametrize("status", ["408 Request Timeout", "429 Too Many Requests", "500 Oops", "503 Later"])
async def test_an_answer_may_be_another_in_a_moment(status: str) -> None:
    async with upstream(says(status)) as (origin, want):
        with pytest.raises(Unavailable) as caught:
            await origin.open(want)
        assert not caught.value.lasting


async def test_not_modified_is_an_answer_only_to_who_asked_whether() -> None:
    async with upstream(says("304 Not Modified")) as (origin, want):
        assert isinstance(await origin.open(want, held=Validators('"1"')), NotModified)
        with pytest.raises(Unavailable, match="304"):
            await origin.open(want)


async def test_a_drip_is_a_stall() -> None:
    async def act(exchange: Exchange) -> None:
        await exchange.head("200 OK", "Content-Length: 100000")
        while True:
            await exchange.send(b"x")
            await asyncio.sleep(0.05)  # never as long as a stall

    async with upstream(act) as (origin, want):
        with pytest.raises(Unavailable, match="bytes in"):
            await got(origin, file(want))


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
        b"",
    ],
)
async def test_what_is_no_http_is_unavailable(head: bytes) -> None:
    async def act(exchange: Exchange) -> None:
        await exchange.send(head)
        exchange.hang_up()

    async with upstream(act) as (origin, want):
        with pytest.raises(Unavailable):
            await got(origin, want)


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nFORGE", b"more of the body"])
async def test_bytes_beyond_the_length_are_no_part_of_the_next_answer(more: bytes) -> None:
    taken, sent = asyncio.Event(), asyncio.Event()

    async def act(exchange: Exchange) -> None:
        if exchange.target == "/first":
            await exchange.answer("200 OK", b"first")
            await taken.wait()
            await exchange.send(more)
            sent.set()
        else:
            await exchange.answer("404 Not Found")

    async with upstream(act) as (origin, want):
        assert await got(origin, replace(want, url=want.url.replace("page", "first"))) == b"first"
        taken.set()
        await sent.wait()
        for _ in range(3):
            await asyncio.sleep(0)  # the loop reads what lies on its socket
        assert isinstance(await origin.open(want), NotHeld)
