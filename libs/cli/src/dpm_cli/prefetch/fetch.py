"""Fetching through a node: it keeps what is asked for, so asking is all there is to do."""

import asyncio
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar
from urllib.parse import urljoin

import aiohttp

from dpm_cli.prefetch.wanted import Listed, Target, Wanted, choose, listed
from dpm_core.errors import DpmError, Invalid, Unavailable, Untrusted

T = TypeVar("T")

JSON = "application/vnd.pypi.simple.v1+json"
"""The form in which pages are asked for (PEP 691)."""

TRIES = 4
LONGEST_PAUSE = 10.0
"""Seconds that a node's Retry-After is heeded up to."""

SILENCE_SECONDS = 60.0
"""Without a byte for so long, a node is given up: it has time-outs of its own, which are shorter."""


class Outcome(StrEnum):
    """What became of a file."""

    HELD = "held"
    FETCHED = "fetched"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """A file, or a project of which none was found: what became of it, and how many bytes and seconds it took."""

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


class Prefetch:
    """Asks a node for files, several at once."""

    def __init__(self, session: aiohttp.ClientSession, index: str, at_once: int) -> None:
        self._session = session
        self._index = index
        self._places = asyncio.Semaphore(at_once)

    @classmethod
    @asynccontextmanager
    async def open(cls, index: str, at_once: int, *, proxies: bool, ca: str = "") -> AsyncIterator["Prefetch"]:
        """``index`` is the URL of a node's index; ``proxies``: use those of the environment, and netrc.

        ``ca`` is the file of a CA to trust beside the system's.
        """
        tls = ssl.create_default_context()
        if ca:
            tls.load_verify_locations(ca)
        connector = aiohttp.TCPConnector(ssl=tls)
        timeout = aiohttp.ClientTimeout(total=None, connect=SILENCE_SECONDS, sock_read=SILENCE_SECONDS)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, trust_env=proxies, auto_decompress=True
        ) as session:
            yield cls(session, index, at_once)

    async def run(self, wanted: Iterable[Wanted], target: Target, progress: Progress) -> list[Result]:
        """Fetch what answers each wish, and the metadata of it. Never raises for a wish: that is a result."""
        results = await asyncio.gather(*(self._one(each, target, progress) for each in wanted))
        return [result for found in results for result in found]

    async def _one(self, wanted: Wanted, target: Target, progress: Progress) -> list[Result]:
        try:
            async with self._places:
                files = choose(wanted, await self._page(wanted.project), target)
        except DpmError as error:
            return [self._told(progress, Result(str(wanted), wanted.project, Outcome.FAILED, detail=str(error)))]
        progress.expect(len(files))
        return list(await asyncio.gather(*(self._file(wanted, file, progress) for file in files)))

    async def _file(self, wanted: Wanted, file: Listed, progress: Progress) -> Result:
        begun = time.perf_counter()
        async with self._places:
            advance = progress.begin(file)
            try:
                if file.metadata:  # installers ask for it first
                    await self._patiently(lambda: self._read(file.url + ".metadata"))
                held, size = await self._patiently(lambda: self._body(file, wanted, advance))
                outcome = Outcome.HELD if held else Outcome.FETCHED
                result = Result(file.name, wanted.project, outcome, size, time.perf_counter() - begun)
            except DpmError as error:
                result = Result(file.name, wanted.project, Outcome.FAILED, detail=str(error))
        return self._told(progress, result)

    async def _page(self, project: str) -> list[Listed]:
        url = urljoin(self._index, f"{project}/")
        body, final = await self._patiently(lambda: self._read(url))
        try:
            page = json.loads(body)
        except ValueError:
            raise Invalid(f"{url} answers, but not with an index page in JSON: is it a node?") from None
        return [_at(final, file) for file in listed(page)]

    async def _read(self, url: str) -> tuple[bytes, str]:
        async with self._session.get(url, headers={"Accept": JSON}) as answer:
            await _require(answer)
            return await answer.read(), str(answer.url)

    async def _body(self, file: Listed, wanted: Wanted, advance: Callable[[int], None]) -> tuple[bool, int]:
        """Whether the node had it already, and how large it is. Raises Untrusted if its bytes are others."""
        algorithm, expected = _digest(file, wanted)
        hasher = hashlib.new(algorithm)
        size = 0
        async with self._session.get(file.url) as answer:
            await _require(answer)
            async for part in answer.content.iter_any():
                hasher.update(part)
                size += len(part)
                advance(len(part))
            held = "hit" in answer.headers.get("Cache-Status", "")
        if expected and hasher.hexdigest() != expected:
            raise Untrusted(f"its {algorithm} is {hasher.hexdigest()}, not {expected}")
        return held, size

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
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

    @staticmethod
    def _told(progress: Progress, result: Result) -> Result:
        progress.end(result)
        return result


def _at(page: str, file: Listed) -> Listed:
    return Listed(
        file.name, urljoin(page, file.url).partition("#")[0], file.hashes, file.size, file.requires_python,
        file.yanked, file.metadata,
    )  # fmt: skip


def _digest(file: Listed, wanted: Wanted) -> tuple[str, str]:
    """The digest to check: one that both lock file and page give, else the page's; empty if it has none."""
    known = sorted(file.hashes & wanted.hashes) or sorted(file.hashes) or ["sha256:"]
    best = next((each for each in known if each.startswith("sha256:")), known[0])
    algorithm, _, value = best.partition(":")
    return (algorithm, value) if algorithm in hashlib.algorithms_available else ("sha256", "")


async def _require(answer: aiohttp.ClientResponse) -> None:
    """Raises Unavailable, with the answer's own words, unless it is 200."""
    if answer.status == 200:
        return
    words = " ".join((await answer.content.read(500)).decode(errors="replace").split())
    seconds = answer.headers.get("Retry-After", "")
    retry = float(seconds) if answer.status in (429, 503) and seconds.isdigit() else None
    raise Unavailable(words or f"the node answers {answer.status}", retry_after=retry)
