"""What clients notice while a node reads an index as large as Debian's main Packages: hits are to be as quick.

Prints a table, judges what is promised, and exits with 1 if something misses. The index is made up, of as many
packages and bytes. In each round hits are timed for a while without it, and then from the moment that the node
begins to read it until all that it says is known, when another client has it. The client asks on one connection,
again as soon as it has its answer. For root.
"""

import asyncio
import hashlib
import lzma
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).with_name("speed")))

import psutil
from client import Connection, fetch  # type: ignore[import-not-found]
from debs import low_port
from table import Rounds, Table, judged, ratios  # type: ignore[import-not-found]

from dpm_testkit.file_server import file_server
from dpm_testkit.node import running_node

MIB = 1024 * 1024
PACKAGES = 63_000
"""That Debian's main has for one architecture; its Packages has 50 MB, 8 packed."""
HIT, HIT_PATH = b"hit" * 10_000, "pool/hit_1.0_all.deb"
QUIET_SECONDS = 2.0
CHECKED = 50
"""Hits between two looks whether it is over."""

BEGUN = 0.05
"""Seconds of processor time after which the reading has begun."""

TIMES_QUIET = 1.25
"""A client's p99 while the index is read, at most: half of that is what two quiet stretches differ by."""
CPU_SECONDS = 3.0

Hits = list[float]
"""Milliseconds of each."""


def made() -> bytes:
    """The text of an index, with names, digests and descriptions that compress like real ones."""
    paragraphs = []
    for number in range(PACKAGES):
        name = f"lib{hashlib.blake2b(number.to_bytes(4), digest_size=4).hexdigest()}-{number % 97}"
        version = f"{number % 9}.{number % 31}-{number % 5}"
        needs = ", ".join(f"libdepends{(number * k) % 4999} (>= {k}.{number % 13})" for k in range(1, 9))
        paragraphs.append(
            f"Package: {name}\nVersion: {version}\nInstalled-Size: {number * 37 % 9999}\n"
            f"Maintainer: The maintainers of {name[:7]} <maintainers@lists.example>\nArchitecture: amd64\n"
            f"Depends: {needs}\nDescription: what {name} is good for, in one line\n"
            f"Description-md5: {hashlib.md5(name.encode()).hexdigest()}\nMulti-Arch: same\n"
            f"Homepage: https://www.example/{name}/\nTag: role::program, implemented-in::c\n"
            f"Section: libs\nPriority: optional\nFilename: pool/main/l/{name}/{name}_{version}_amd64.deb\n"
            f"Size: {number * 1013}\nSHA256: {hashlib.sha256(name.encode()).hexdigest()}\n"
        )
    return "\n".join(paragraphs).encode()


def hits(url: str, over: Callable[[], bool]) -> Hits:
    """Ask for a file that is held, one time after the other. Raises RuntimeError for any other answer."""
    taken: Hits = []
    with Connection(url) as connection:
        while len(taken) % CHECKED or not over():
            answer = connection.get(url)
            if answer.status != 200 or answer.size != len(HIT):
                raise RuntimeError(f"{url}: {answer.status}, {answer.size} bytes")
            taken.append(answer.last * 1000)
    return sorted(taken)


def quiet(url: str) -> Hits:
    """Hits of a while in which nothing else is done."""
    end = time.perf_counter() + QUIET_SECONDS
    return hits(url, lambda: time.perf_counter() > end)


class Reading:
    """The processes of a gateway in which indexes are read."""

    def __init__(self, gateway: int) -> None:
        self._gateway = psutil.Process(gateway)

    def workers(self) -> list[psutil.Process]:
        """Those that there are now."""
        return [each for each in self._gateway.children() if each.cpu_times().user > 0]

    def seconds(self) -> float:
        """Their processor time."""
        return sum(sum(each.cpu_times()[:2]) for each in self.workers())

    def memory(self) -> float:
        """MiB that gateway and workers have together, what they share counted once."""
        return float(sum(each.memory_full_info().pss for each in (self._gateway, *self.workers())) / MIB)


async def run(folder: Path, rounds: int) -> Table:
    """Measure all of it."""
    table = Table()
    async with (
        file_server(folder / "site", port=low_port) as server,
        running_node(apt_allow=(host := server.url.split("/")[2])) as node,
    ):
        served = server.served
        (served / "pool").mkdir()
        (served / HIT_PATH).write_bytes(HIT)
        packed = lzma.compress(made(), preset=1)
        for number in range(rounds + 1):
            place = served / _index(number)
            place.parent.mkdir(parents=True)
            place.write_bytes(packed + lzma.compress(b"\n\n" + _paragraph(number)))
        base = f"{node.address('gateway-apt')}{host}/"
        table.heading(f"while an index of {PACKAGES:,} packages is read, {len(packed) / MIB:.1f} MiB packed")
        gateway = (await node.services())["gateway-apt"]["pid"]
        await asyncio.to_thread(_measure, table, base, Reading(gateway), rounds)
    return table


def _index(number: int) -> str:
    return f"dists/{number}/main/binary-amd64/Packages.xz"


def _paragraph(number: int) -> bytes:
    """Of the file that is asked for: each index names it."""
    digest = hashlib.sha256(HIT).hexdigest()
    return f"Package: hit\nTag: {number}\nFilename: {HIT_PATH}\nSize: {len(HIT)}\nSHA256: {digest}\n".encode()


def _measure(table: Table, base: str, reading: Reading, rounds: int) -> None:
    url = f"{base}{HIT_PATH}"
    without = reading.memory()
    middle: Rounds = {"quiet": [], "reading": []}
    late: Rounds = {"quiet": [], "reading": []}
    costs, memory = [], []
    for number in range(rounds + 1):  # in the first one all is fetched, and the processes begin
        before = quiet(url)
        used = reading.seconds()
        with ThreadPoolExecutor(1) as other:
            fetching = other.submit(fetch, f"{base}{_index(number)}")
            while reading.seconds() < used + BEGUN and not fetching.done():
                time.sleep(0.005)  # a worker's processor time has no event
            meanwhile = hits(url, fetching.done)
        if (answer := fetching.result()).status != 200:
            raise RuntimeError(f"the index cannot be had: {answer.status}")
        if not number:
            continue
        costs.append(reading.seconds() - used)
        memory.append(reading.memory() - without)
        for name, taken in (("quiet", before), ("reading", meanwhile)):
            middle[name].append(taken[len(taken) // 2])
            late[name].append(taken[len(taken) * 99 // 100])
    table.row("p50 of hits", middle, "ms")
    table.row("p99 of hits", late, "ms")
    table.at_most("p99, times that without", ratios(late, "reading", "quiet"), TIMES_QUIET, "")
    table.at_most("processor time to read it", costs, CPU_SECONDS, "s")
    table.row("memory more than before, at its end", {"gateway and workers": memory}, "MiB")


if __name__ == "__main__":
    sys.exit(judged("bench/reading.py", __doc__, run))
