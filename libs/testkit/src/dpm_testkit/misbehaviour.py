"""What an upstream may do with a request, as scripts for a faulty server; ``body`` is what it should have sent."""

import asyncio
import gzip
import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from dpm_testkit.faulty_server import Exchange

Script: TypeAlias = Callable[[Exchange, bytes], Awaitable[None]]

JSON = "Content-Type: application/vnd.pypi.simple.v1+json"
CHUNKED = "Transfer-Encoding: chunked"
DRIP_SECONDS = 0.05
SLOW_SECONDS = 0.25


def etag_of(body: bytes) -> str:
    """A strong ETag."""
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


def flipped(body: bytes) -> bytes:
    """Other bytes of the same length, from the first to the last."""
    return bytes(255 - each for each in body)


async def right(exchange: Exchange, body: bytes) -> None:
    """What an upstream should do: send the bytes, or those behind the part that is there already."""
    etag = etag_of(body)
    start = exchange.start if exchange.headers.get("if-range", etag) == etag else 0
    if start:
        ranges = f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}"
        await exchange.answer("206 Partial Content", body[start:], f"ETag: {etag}", JSON, ranges)
    else:
        await exchange.answer("200 OK", body, f"ETag: {etag}", JSON)


def first(fault: Script, then: Script = right) -> Script:
    """The fault at the first request, and something else from then on."""

    async def script(exchange: Exchange, body: bytes) -> None:
        await (fault if exchange.number == 1 else then)(exchange, body)

    return script


def says(status: str, *fields: str, text: bytes = b"no") -> Script:
    """The same answer always."""

    async def script(exchange: Exchange, body: bytes) -> None:
        await exchange.answer(status, text, *fields)

    return script


def sends(change: Callable[[bytes], bytes], *fields: str, etag: bool = True) -> Script:
    """A whole and well-formed answer, with other bytes than it should have."""

    async def script(exchange: Exchange, body: bytes) -> None:
        more = (f"ETag: {etag_of(body)}",) if etag else ()
        await exchange.answer("200 OK", change(body), JSON, *more, *fields)

    return script


def announces(length: Callable[[int], int]) -> Script:
    """The right bytes under a length that is none of theirs."""

    async def script(exchange: Exchange, body: bytes) -> None:
        await exchange.head("200 OK", f"Content-Length: {length(len(body))}", JSON)
        await exchange.send(body)
        exchange.hang_up()

    return script


async def chunks_without_end(exchange: Exchange, body: bytes) -> None:
    """A chunked body that goes on behind its end, as long as somebody reads."""
    await exchange.head("200 OK", CHUNKED, JSON)
    await exchange.chunk(body)
    while True:
        await exchange.chunk(bytes(64 * 1024))


async def no_chunks(exchange: Exchange, body: bytes) -> None:
    """A chunked body that ends before it begins."""
    await exchange.head("200 OK", CHUNKED, JSON)
    await exchange.chunk(b"")


async def head_without_end(exchange: Exchange, body: bytes) -> None:
    """Fields upon fields, and never a body."""
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await exchange.send(b"X-Field: " + b"x" * 4000 + b"\r\n")


async def no_http(exchange: Exchange, body: bytes) -> None:
    """Another protocol."""
    await exchange.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    exchange.hang_up()


async def silence(exchange: Exchange, body: bytes) -> None:
    """Nothing, and the connection stays."""
    await asyncio.Event().wait()


async def broken(exchange: Exchange, body: bytes) -> None:
    """The connection breaks before a word is said."""
    exchange.reset()


async def half(exchange: Exchange, body: bytes) -> None:
    """A good beginning, up to the half."""
    await exchange.head("200 OK", f"Content-Length: {len(body)}", f"ETag: {etag_of(body)}", JSON)
    await exchange.send(body[: len(body) // 2])


async def half_then_hang_up(exchange: Exchange, body: bytes) -> None:
    """Half of what was announced; of what lies behind it never anything."""
    if exchange.start:
        await exchange.head(
            "206 Partial Content", f"Content-Range: bytes {exchange.start}-{len(body) - 1}/{len(body)}"
        )
    else:
        await half(exchange, body)
    exchange.hang_up()


async def half_then_reset(exchange: Exchange, body: bytes) -> None:
    """The connection breaks at half."""
    await half(exchange, body)
    exchange.reset()


async def half_then_silence(exchange: Exchange, body: bytes) -> None:
    """Half, then nothing, and the connection stays."""
    await half(exchange, body)
    await asyncio.Event().wait()


async def half_then_drip(exchange: Exchange, body: bytes) -> None:
    """Half, then a byte now and then."""
    await half(exchange, body)
    for each in body[len(body) // 2 :]:
        await exchange.send(bytes([each]))
        await asyncio.sleep(DRIP_SECONDS)


async def slow_without_end(exchange: Exchange, body: bytes) -> None:
    """A body that comes well enough and never ends."""
    await exchange.head("200 OK", CHUNKED, JSON)
    while True:
        await exchange.chunk(bytes(20 * 1024))
        await asyncio.sleep(SLOW_SECONDS)


async def whole_again(exchange: Exchange, body: bytes) -> None:
    """All of it, whatever part was asked for."""
    await exchange.answer("200 OK", body, f"ETag: {etag_of(body)}", JSON)


async def other_body(exchange: Exchange, body: bytes) -> None:
    """Something else is there now, under another ETag: all of it, since that is what If-Range asks for."""
    await right(exchange, flipped(body))


async def other_etag(exchange: Exchange, body: bytes) -> None:
    """The same bytes under another ETag, and all of them."""
    await exchange.answer("200 OK", body, 'ETag: "another"', JSON)


async def other_part(exchange: Exchange, body: bytes) -> None:
    """The part that was asked for under the right ETag, but of other bytes."""
    start = exchange.start
    ranges = f"Content-Range: bytes {start}-{len(body) - 1}/{len(body)}"
    await exchange.answer("206 Partial Content", flipped(body)[start:], f"ETag: {etag_of(body)}", ranges)


async def no_such_part(exchange: Exchange, body: bytes) -> None:
    """416 to any part, the whole to who asks for it."""
    if exchange.start:
        await exchange.answer("416 Range Not Satisfiable", b"", "Content-Range: bytes */1")
    else:
        await right(exchange, body)


async def part_elsewhere(exchange: Exchange, body: bytes) -> None:
    """Another part than was asked for; the whole to who asks for it."""
    if exchange.start:
        await exchange.answer("206 Partial Content", body[:10], f"Content-Range: bytes 0-9/{len(body)}")
    else:
        await right(exchange, body)


def leads(location: str, status: str = "302 Found") -> Script:
    """A redirect; ``{here}`` stands for the host and port that were asked."""

    async def script(exchange: Exchange, body: bytes) -> None:
        await exchange.answer(status, b"", f"Location: {location.format(here=exchange.headers['host'])}")

    return script


def packed_bomb(body: bytes) -> bytes:
    """A little gzip of a lot."""
    return gzip.compress(bytes(64 * 1024 * 1024), 9)
