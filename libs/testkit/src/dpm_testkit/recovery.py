"""How long a node needs to serve again after one of its processes was killed under load."""

import asyncio
import itertools
import os
import random
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dpm_testkit.crowd import Crowd
from dpm_testkit.node import Node
from dpm_testkit.package_server import File, PackageServer

CLIENTS = 8
"""Who ask for what is held, without a pause."""

_numbers = itertools.count()


@dataclass(frozen=True)
class Recovery:
    """Seconds from a process's death to the next hit, the next miss, and its successor's being ready."""

    process: str
    hit: float
    miss: float
    ready: float

    @property
    def serving(self) -> float:
        """Seconds until hits and misses were served again."""
        return max(self.hit, self.miss)

    def __str__(self) -> str:
        return (
            f"kill -9 of {self.process:<14} hit after {self.hit:5.2f} s   miss after {self.miss:5.2f} s   "
            f"ready after {self.ready:5.2f} s"
        )


@asynccontextmanager
async def load(node: Node, project: str, files: Sequence[File]) -> AsyncIterator[Crowd]:
    """CLIENTS that ask for files which are held, while the context lasts. Raises what a client finds wrong."""
    crowd = Crowd(node.index)

    async def ask(chance: random.Random) -> None:
        while True:
            await crowd.obtain(project, chance.choice(files))

    async with asyncio.TaskGroup() as clients:
        asking = [clients.create_task(ask(random.Random(number))) for number in range(CLIENTS)]
        try:
            yield crowd
        finally:
            for task in asking:
                task.cancel()


async def recovered(node: Node, upstream: PackageServer, process: str, project: str, held: File) -> Recovery:
    """Kill a process, and measure until the node serves again. Raises WrongBytes, WrongAnswer, TimeoutError."""
    new = f"new-{next(_numbers)}"
    file = upstream.add(new, File(f"{new.replace('-', '_')}-1.0-py3-none-any.whl", os.urandom(100_000)))
    clock = asyncio.get_running_loop().time
    index = node.index  # a killed gateway tells no address
    pid = node.pid(process)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    begun = clock()

    async def seconds(project: str, file: File) -> float:
        await Crowd(index).obtain(project, file)
        return clock() - begun

    async def ready() -> float:
        await node.back(process, pid)
        return clock() - begun

    hit, miss, again = await asyncio.gather(seconds(project, held), seconds(new, file), ready())
    return Recovery(process, hit, miss, again)
