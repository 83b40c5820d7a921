"""Clients that insist: each tries until it has a whole file, and compares every byte that it gets on the way."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urljoin

import aiohttp

from dpm_testkit.package_server import File

PAUSE_SECONDS = 0.1
"""Between two tries."""

READ_SECONDS = 20.0
"""Without a byte for so long a client hangs up and tries again."""

PAGE = "application/vnd.pypi.simple.v1+json"


class WrongBytes(AssertionError):
    """A client got a byte that is not the file's."""


class WrongAnswer(AssertionError):
    """A client got an answer that no fault of the node's own parts excuses."""


@dataclass
class Tally:
    """What clients met: whole files, transfers that broke off, refusals, and those gone on with by a Range.

    ``longest`` is the most seconds that a client needed for one file.
    """

    whole: int = 0
    cut: int = 0
    refused: int = 0
    resumed: int = 0
    longest: float = 0.0


@dataclass
class Crowd:
    """Clients of the index at ``index`` (with a closing slash), who choose by ``chance`` how they go on."""

    index: str
    chance: random.Random = field(default_factory=random.Random)
    tally: Tally = field(default_factory=Tally)

    async def obtain(self, project: str, file: File) -> None:
        """Have the whole file, however often it takes. Raises WrongBytes, WrongAnswer."""
        begun = asyncio.get_running_loop().time()
        client = _Client(self, project, file)
        while not await client.tries():  # noqa: ASYNC110 - so a client goes on
            await asyncio.sleep(PAUSE_SECONDS)
        self.tally.whole += 1
        self.tally.longest = max(self.tally.longest, asyncio.get_running_loop().time() - begun)


class _Client:
    def __init__(self, crowd: Crowd, project: str, file: File) -> None:
        self._crowd = crowd
        self._page = f"{crowd.index}{project}/"
        self._file = file
        self._got = 0
        self._etag = ""

    async def tries(self) -> bool:
        """Ask once for page and file; whether the whole file is here now."""
        # a connection of its own each time: several processes share the port
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_read=READ_SECONDS)
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                return await self._page_and_file(session)
        except (aiohttp.ClientError, OSError, TimeoutError):
            self._crowd.tally.cut += 1
            return False

    async def _page_and_file(self, session: aiohttp.ClientSession) -> bool:
        async with session.get(self._page, headers={"Accept": PAGE}) as answer:
            if not await self._well(answer, {200}):
                return False
            page = await answer.json(content_type=None)
        url = next(
            urljoin(self._page, each["url"]) for each in page["files"] if each["filename"] == self._file.name
        )
        headers = {}
        if self._got and self._etag and self._crowd.chance.random() < 0.5:
            headers = {"Range": f"bytes={self._got}-", "If-Range": self._etag}
        async with session.get(url, headers=headers) as answer:
            if not await self._well(answer, {200, 206} if headers else {200}):
                return False
            if answer.status == 206:
                self._crowd.tally.resumed += 1
            else:
                self._got = 0
            self._etag = answer.headers.get("ETag", "")
            async for part in answer.content.iter_any():
                self._take(part)
        if self._got != len(self._file.body):
            raise WrongBytes(f"{self._file.name} ended as if whole after {self._got} bytes")
        return True

    async def _well(self, answer: aiohttp.ClientResponse, expected: set[int]) -> bool:
        if answer.status == 503 and "Retry-After" in answer.headers:
            self._crowd.tally.refused += 1
            return False
        if answer.status not in expected:
            raise WrongAnswer(f"{answer.url} was answered {answer.status}: {(await answer.text())[:300]}")
        return True

    def _take(self, part: bytes) -> None:
        if not self._file.body.startswith(part, self._got):
            raise WrongBytes(f"{self._file.name} is wrong within {len(part)} bytes from {self._got}")
        self._got += len(part)


def merged(tallies: list[Tally]) -> Counter[str]:
    """What several crowds met, together."""
    return Counter(
        {name: sum(getattr(tally, name) for tally in tallies) for name in ("whole", "cut", "refused", "resumed")}
    )
