"""Fetching Debian packages through a node: those that apt has resolved, and those that indexes have by name."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from dpm_cli.prefetch.asking import Outcome, Progress, Result, body_of, patiently
from dpm_cli.prefetch.deb_index import (
    Candidate,
    Listed,
    Suite,
    candidates,
    choose,
    packages,
    unpacked,
)
from dpm_cli.prefetch.deb_names import DebFile, DebName
from dpm_cli.prefetch.wanted import Listed as Shown
from dpm_core.errors import DpmError

SECURE = "HTTPS///"
"""What stands before a host that is asked by https."""


class DebPrefetch:
    """Asks a node for packages, several at once."""

    def __init__(self, session: aiohttp.ClientSession, node: str, at_once: int) -> None:
        """``node`` is its URL, with a closing slash."""
        self._session = session
        self._node = node
        self._places = asyncio.Semaphore(at_once)

    async def run(
        self, wanted: Sequence[DebName | DebFile], suites: Iterable[Suite], architecture: str, progress: Progress
    ) -> list[Result]:
        """Fetch what is wanted, and the indexes that it takes to find it. Never raises for one: that is a result.

        Nothing is resolved: of a name alone its dependencies are not fetched.
        """
        files = [each for each in wanted if isinstance(each, DebFile)]
        names = [each for each in wanted if isinstance(each, DebName)]
        results: list[Result] = []
        if names:
            indexes, found = await self._look_up(names, suites, architecture, progress)
            results += indexes
            for name in names:
                try:
                    files.append(choose(name, found[name.name], architecture))
                except DpmError as error:
                    results.append(self._failed(str(name), error, progress))
        files = list(dict.fromkeys(files))
        progress.expect(len(files))
        fetched = await asyncio.gather(*(self._fetched(each, progress) for each in files))
        return [*results, *(result for result, _ in fetched)]

    async def _look_up(
        self, names: Sequence[DebName], suites: Iterable[Suite], architecture: str, progress: Progress
    ) -> tuple[list[Result], dict[str, list[Candidate]]]:
        architectures = list(
            dict.fromkeys([architecture, *(each.architecture for each in names if each.architecture)])
        )
        results: list[Result] = []
        found: dict[str, list[Candidate]] = defaultdict(list)
        wanted = {each.name for each in names}

        async def one(suite: Suite) -> None:
            released, text = await self._released(suite, progress)
            results.append(released)
            try:
                listed = packages(text.decode(errors="replace"), suite, architectures) if text else []
            except DpmError as error:
                results.append(self._failed(suite.folder, error, progress))
                return
            progress.expect(len(listed))
            read = await asyncio.gather(*(self._index(suite, each, progress) for each in listed))
            for each, (result, body) in zip(listed, read, strict=True):
                results.append(result)
                if not body:
                    continue
                try:
                    for name, candidate in await asyncio.to_thread(_listed, suite, each, body, wanted):
                        found[name].append(candidate)
                except DpmError as error:
                    results.append(self._failed(_shown(suite.folder + each.path), error, progress))

        await asyncio.gather(*(one(each) for each in suites))
        return results, found

    async def _released(self, suite: Suite, progress: Progress) -> tuple[Result, bytes]:
        """The InRelease, or the Release of a repository that has none."""
        for name in ("InRelease", "Release"):
            file = DebFile(_shown(suite.folder + name), suite.folder + name)
            result, body = await self._asked(file, lambda _: None, keep=True)
            if body:
                break
        progress.end(result)
        return result, body

    async def _index(self, suite: Suite, listed: Listed, progress: Progress) -> tuple[Result, bytes]:
        uri = suite.folder + listed.path
        return await self._fetched(
            DebFile(_shown(uri), uri, digest=f"sha256:{listed.sha256}"), progress, keep=True
        )

    async def _fetched(self, file: DebFile, progress: Progress, *, keep: bool = False) -> tuple[Result, bytes]:
        advance = progress.begin(Shown(file.name, "", size=file.size))
        result, body = await self._asked(file, advance, keep=keep)
        progress.end(result)
        return result, body

    async def _asked(self, file: DebFile, advance: Callable[[int], None], *, keep: bool) -> tuple[Result, bytes]:
        begun = time.perf_counter()
        try:
            async with self._places:
                held, size, body = await patiently(lambda: self._body(file, advance, keep=keep))
        except DpmError as error:
            return Result(file.name, file.name, Outcome.FAILED, detail=str(error)), b""
        outcome = Outcome.HELD if held else Outcome.FETCHED
        return Result(file.name, file.name, outcome, size, time.perf_counter() - begun), body

    async def _body(self, file: DebFile, advance: Callable[[int], None], *, keep: bool) -> tuple[bool, int, bytes]:
        async with self._session.get(URL(at_node(self._node, file.uri), encoded=True)) as answer:
            return await body_of(answer, file.digest, advance, keep=keep)

    @staticmethod
    def _failed(name: str, error: DpmError, progress: Progress) -> Result:
        result = Result(name, name, Outcome.FAILED, detail=str(error))
        progress.end(result)
        return result


def at_node(node: str, uri: str) -> str:
    """The URL on a node of what is at ``uri``, which may lead through that node already."""
    parts = urlsplit(uri)
    if parts.netloc == urlsplit(node).netloc:
        return uri
    host = parts.netloc.rpartition("@")[2]
    if parts.netloc == "HTTPS":  # as it is written in sources
        return f"{node}HTTPS{parts.path}"
    return f"{node}{SECURE if parts.scheme == 'https' else ''}{host}{parts.path}"


def _listed(suite: Suite, index: Listed, body: bytes, names: Iterable[str]) -> list[tuple[str, Candidate]]:
    """What an index has of these names. Raises Invalid."""
    return list(candidates(unpacked(index.path, body), suite.uri.rstrip("/") + "/", names))


def _shown(uri: str) -> str:
    """A file of a repository, for people."""
    return uri.partition("://")[2]
