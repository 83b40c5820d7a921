"""What is held already: a large file, ranges of it, index pages, small files."""

import hashlib
import random
import time
import urllib.request
from collections.abc import Sequence

import content
from client import Connection
from content import MIB
from contestants import Contestant
from load import Generator
from table import Table, each, ratios, turns

RANGE = 4 * MIB
RANGES = 16
CONNECTIONS = 8
"""Clients of the index pages at once."""

OF_NGINX = 0.95
TIMES_PROXPI = 10.0


def whole(url: str, size: int) -> float:
    """MiB/s of one download on a connection of its own. Raises RuntimeError for any other answer."""
    with Connection(url) as connection:
        answer = connection.get(url)
    if answer.status != 200 or answer.size != size:
        raise RuntimeError(f"{url}: {answer.status}, {answer.size} bytes")
    return size / MIB / answer.last


def ranges(url: str, size: int) -> float:
    """MiB/s of pieces anywhere in a file, one after the other. Raises RuntimeError for any other answer."""
    chosen = random.Random(7)
    with Connection(url) as connection:
        begun = time.perf_counter()
        for _ in range(RANGES):
            start = chosen.randrange(size - RANGE)
            answer = connection.get(url, Range=f"bytes={start}-{start + RANGE - 1}")
            if answer.status != 206 or answer.size != RANGE:
                raise RuntimeError(f"{url}: no range: {answer.status}, {answer.size} bytes")
        return RANGES * RANGE / MIB / (time.perf_counter() - begun)


def sends_ranges(url: str) -> bool:
    """Whether a server sends a part of a file to who asks for no more."""
    with Connection(url) as connection:
        return connection.get(url, Range="bytes=0-9").status == 206


def digest(url: str) -> str:
    """sha256 of what a server sends."""
    hasher = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=300) as answer:
        while piece := answer.read(MIB):
            hasher.update(piece)
    return hasher.hexdigest()


def measure(
    table: Table, node: Contestant, nginx: Contestant, rivals: Sequence[Contestant], load: Generator, rounds: int
) -> None:
    """All of it, by everybody who can."""
    everybody = [node, nginx, *rivals]
    table.heading("held already")
    large = {each.name: each.file("big") for each in everybody}
    for _ in range(2):  # the first time it is fetched, and a second one finds it where it is to stay
        if len({digest(url) for url in large.values()}) != 1:
            raise RuntimeError("not all send the same file")
    reached, busy = turns(rounds, each(large, lambda url, _: whole(url, content.BIG)))
    table.row("file of 100 MiB", reached, "MiB/s", busy)
    table.at_least("of nginx", ratios(reached, "dpm", "nginx"), OF_NGINX)
    able = {name: url for name, url in large.items() if sends_ranges(url)}
    reached, busy = turns(rounds, each(able, lambda url, _: ranges(url, content.BIG)))
    table.row("ranges of 4 MiB of it", reached, "MiB/s", busy)
    table.at_least("of nginx", ratios(reached, "dpm", "nginx"), OF_NGINX)
    for project, what in (("forty", "index of 40 files"), ("many", "index of 3,000 files")):
        pages = {each.name: each.page(project) for each in everybody}
        reached, busy = turns(rounds, each(pages, lambda url, _: load.rate([url], connections=CONNECTIONS)))
        table.row(f"{what}, {CONNECTIONS} clients", reached, "pages/s", busy)
        table.at_least("times proxpi", ratios(reached, "dpm", "proxpi"), TIMES_PROXPI)
    small = {each.name: each.files("small") for each in everybody}
    for urls in small.values():
        _fetch(urls)
    reached, busy = turns(rounds, each(small, lambda urls, _: load.rate(urls, connections=1)))
    table.row(f"{content.SMALL:,} small files, one connection", reached, "files/s", busy)


def _fetch(urls: Sequence[str]) -> None:
    with Connection(urls[0]) as connection:
        for url in urls:
            if (answer := connection.get(url)).status != 200:
                raise RuntimeError(f"{url}: {answer.status}")
