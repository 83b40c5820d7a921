"""Asking a node, with patience where it says when to ask again."""

import asyncio
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

import aiohttp

from dpm_cli.prefetch.wanted import Listed
from dpm_core.errors import Unavailable, Untrusted

T = TypeVar("T")

TRIES = 4
LONGEST_PAUSE = 10.0
"""Seconds that a node's Retry-After is heeded up to."""

SILENCE_SECONDS = 60.0
"""Without a byte for so long, a node is given up: it has time-outs of its own, which are shorter."""

LONGEST_WORDS = 16 * 1024
"""Bytes that are read of an error."""


class Outcome(StrEnum):
    """What became of a file."""

    HELD = "held"
    FETCHED = "fetched"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """A file, or what it should be a file of and none was found: what became of it, its bytes and its seconds.

    ``project`` is the project, or the image as it was asked for.
    """

    name: str
    project: str
    outcome: Outcome
    bytes: int = 0
    seconds: float = 0.0
    detail: str = ""


class Progress(Protocol):
    """Who is told how it goes."""

    def expect(self, files: int) -> None:
        """So many more files will be asked for."""

    def begin(self, file: Listed) -> Callable[[int], None]:
        """A file begins; the function is told of each part's bytes."""

    def end(self, result: Result) -> None:
        """A file, or the search for one, has ended."""


@asynccontextmanager
async def session(*, proxies: bool, ca: str = "") -> AsyncIterator[aiohttp.ClientSession]:
    """``proxies``: use those of the environment, and netrc. ``ca``: file of a CA to trust beside the system's."""
    tls = ssl.create_default_context()
    if ca:
        tls.load_verify_locations(ca)
    connector = aiohttp.TCPConnector(ssl=tls)
    timeout = aiohttp.ClientTimeout(total=None, connect=SILENCE_SECONDS, sock_read=SILENCE_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, trust_env=proxies, auto_decompress=True
    ) as opened:
        yield opened


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What ``ask`` gives, asked again when the node says that it may be. Raises Unavailable."""
    for left in reversed(range(TRIES)):
        try:
            return await ask()
        except Unavailable as error:
            if not left or error.retry_after is None:
                raise
            await asyncio.sleep(min(error.retry_after, LONGEST_PAUSE))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"the node does not answer: {error or type(error).__name__}") from None
    raise AssertionError


async def require(answer: aiohttp.ClientResponse) -> None:
    """Raises Unavailable, with the answer's own words, unless it is 200."""
    if answer.status == 200:
        return
    words = _words(await answer.content.read(LONGEST_WORDS), answer.content_type)
    seconds = answer.headers.get("Retry-After", "")
    retry = float(seconds) if answer.status in (429, 503) and seconds.isdigit() else None
    raise Unavailable(words or f"the node answers {answer.status}", retry_after=retry)


async def body_of(
    answer: aiohttp.ClientResponse, digest: str, advance: Callable[[int], None], *, keep: bool = False
) -> tuple[bool, int, bytes]:
    """Whether the node had it already, how large it is, and, to ``keep``, its bytes.

    ``digest`` is ``sha256:…`` or such, empty for none. Raises Untrusted if it has another one, Unavailable.
    """
    await require(answer)
    algorithm, _, expected = digest.partition(":")
    hasher = hashlib.new(algorithm if algorithm in hashlib.algorithms_available else "sha256")
    kept, size = [], 0
    async for part in answer.content.iter_any():
        hasher.update(part)
        size += len(part)
        advance(len(part))
        if keep:
            kept.append(part)
    if expected and hasher.name == algorithm and hasher.hexdigest() != expected:
        raise Untrusted(f"its {algorithm} is {hasher.hexdigest()}, not {expected}")
    return was_held(answer), size, b"".join(kept)


def _words(body: bytes, media_type: str) -> str:
    """What an answer says of an error, in text or in a registry's JSON."""
    text = body.decode(errors="replace")
    if media_type == "application/json":
        with suppress(ValueError, LookupError, TypeError, AttributeError):
            first = json.loads(text)["errors"][0]
            text = str(first.get("message") or first["code"])
    return " ".join(text.split())[:500]


def was_held(answer: aiohttp.ClientResponse) -> bool:
    """Whether the node had it already (RFC 9211)."""
    return "hit" in answer.headers.get("Cache-Status", "")
