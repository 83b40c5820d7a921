"""Fetching through a node: it keeps what is asked for, so asking is all there is to do."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from urllib.parse import urljoin

import aiohttp

from dpm_cli.prefetch.asking import Outcome, Progress, Result, body_of, patiently, require
from dpm_cli.prefetch.wanted import Listed, Target, Wanted, choose, listed
from dpm_core.errors import DpmError, Invalid

JSON = "application/vnd.pypi.simple.v1+json"
"""The form in which pages are asked for (PEP 691)."""


class Prefetch:
    """Asks a node for files of its index, several at once."""

    def __init__(self, session: aiohttp.ClientSession, index: str, at_once: int) -> None:
        self._session = session
        self._index = index
        self._places = asyncio.Semaphore(at_once)

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
                    await patiently(lambda: self._read(file.url + ".metadata"))
                held, size = await patiently(lambda: self._body(file, wanted, advance))
                outcome = Outcome.HELD if held else Outcome.FETCHED
                result = Result(file.name, wanted.project, outcome, size, time.perf_counter() - begun)
            except DpmError as error:
                result = Result(file.name, wanted.project, Outcome.FAILED, detail=str(error))
        return self._told(progress, result)

    async def _page(self, project: str) -> list[Listed]:
        url = urljoin(self._index, f"{project}/")
        body, final = await patiently(lambda: self._read(url))
        try:
            page = json.loads(body)
        except ValueError:
            raise Invalid(f"{url} answers, but not with an index page in JSON: is it a node?") from None
        return [_at(final, file) for file in listed(page)]

    async def _read(self, url: str) -> tuple[bytes, str]:
        async with self._session.get(url, headers={"Accept": JSON}) as answer:
            await require(answer)
            return await answer.read(), str(answer.url)

    async def _body(self, file: Listed, wanted: Wanted, advance: Callable[[int], None]) -> tuple[bool, int]:
        """Whether the node had it already, and how large it is. Raises Untrusted if its bytes are others."""
        async with self._session.get(file.url) as answer:
            return (await body_of(answer, _digest(file, wanted), advance))[:2]

    @staticmethod
    def _told(progress: Progress, result: Result) -> Result:
        progress.end(result)
        return result


def _at(page: str, file: Listed) -> Listed:
    return Listed(
        file.name, urljoin(page, file.url).partition("#")[0], file.hashes, file.size, file.requires_python,
        file.yanked, file.metadata,
    )  # fmt: skip


def _digest(file: Listed, wanted: Wanted) -> str:
    """The digest to check: one that both lock file and page give, else the page's; empty if it has none."""
    known = sorted(file.hashes & wanted.hashes) or sorted(file.hashes) or [""]
    return next((each for each in known if each.startswith("sha256:")), known[0])
