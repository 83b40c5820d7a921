"""The metrics of the Kubos of a node as one page: each sample says which network it is of.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format: the samples of one metric stand
together, below what describes it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from dpm_core.errors import Unavailable

LEFT_OUT = ("http_", "target_info")
"""Of the RPC, which nobody but the node asks, and of Kubo's telemetry: names that others have, too."""

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{)?")


def one_page(pages: Mapping[str, str]) -> str:
    """The page of all; ``pages`` are Kubo's own, by the names of the networks."""
    described: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for network, page in sorted(pages.items()):
        name = ""
        for line in page.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                name = line.split(" ", 3)[2]
                lines = described.setdefault(name, [])
                if line not in lines and len(lines) < 2:
                    lines.append(line)
            elif found := _SAMPLE.match(line):
                samples.setdefault(name, []).append(_labelled(line, found, network))
    kept = (name for name in described if not name.startswith(LEFT_OUT))
    return "".join(f"{line}\n" for name in kept for line in (*described[name], *samples.get(name, ())))


def _labelled(line: str, found: re.Match[str], network: str) -> str:
    label = f'network="{network}"'
    rest = line[found.end() :]
    if found[2] is None:
        return f"{found[1]}{{{label}}}{rest}"
    return f"{found[1]}{{{label}{'' if rest.startswith('}') else ','}{rest}"


Source = Callable[[], Awaitable[str]]
"""A Kubo's own page. Raises Unavailable."""


class KuboMetrics:
    """Those of the networks that are open."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}

    @contextmanager
    def of(self, network: str, source: Source) -> Iterator[None]:
        """Have those of a network in the page meanwhile."""
        self._sources[network] = source
        try:
            yield
        finally:
            del self._sources[network]

    async def page(self) -> bytes:
        """The page, without those that cannot be had now."""
        names, sources = list(self._sources), list(self._sources.values())
        pages = await asyncio.gather(*(_page(source) for source in sources))
        return one_page({name: page for name, page in zip(names, pages, strict=True) if page}).encode()


async def _page(source: Source) -> str:
    with suppress(Unavailable):
        return await source()
    return ""
