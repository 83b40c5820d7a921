"""Clients that hold connections and hardly use them, thousands in a process of their own.

``python -m dpm_testkit.loiterers HABIT COUNT HOST PORT PATH`` lets them in, prints each second how they fare, as a
line of JSON, and ends with its standard input. Who is sent away comes again.
"""

import asyncio
import contextlib
import json
import os
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from urllib.parse import urlsplit

from dpm_runtime.files_limit import raise_files_limit

TICKS = 20
"""In a second, in each of which as large a part of the clients gets its turn."""

WINDOW = 2048
"""Bytes that who takes its answer slowly lets come at most: the least that the system knows."""

CONNECT_SECONDS = 20.0
PATIENCE = 120.0
"""Seconds for all to be let in."""


class Habit(StrEnum):
    """How a client loiters; each does its thing once a second."""

    IDLE = "idle"
    """It says nothing."""
    KEPT = "kept"
    """It has asked, has its answer, and stays."""
    HEAD = "head"
    """It says its request, a byte at a time."""
    BODY = "body"
    """It announces a body, and sends it a byte at a time."""
    ANSWER = "answer"
    """It takes its answer, a byte at a time."""


AWAY_SECONDS = {Habit.KEPT: 20.0, Habit.BODY: 20.0, Habit.ANSWER: 60.0}
"""Until it comes again, if not at once: else these would be a flood of requests, which is something else."""


class _Loiterer:
    def __init__(self, habit: Habit, address: tuple[str, int], path: str, told: Counter[str]) -> None:
        self._habit = habit
        self._address = address
        self._request = f"GET {path if habit is Habit.ANSWER else '/'} HTTP/1.1\r\nHost: localhost\r\n".encode()
        self._told = told
        self._socket: socket.socket | None = None
        self._back_at = 0.0
        self._said = 0

    def turn(self) -> None:
        if self._socket is None and time.monotonic() >= self._back_at:
            self._come()
        try:
            if self._socket is not None and not self._stay(self._socket):
                self._go("sent_away")
        except OSError:
            self._go("cut")

    def _come(self) -> None:
        sock = socket.socket()
        sock.settimeout(CONNECT_SECONDS)
        if self._habit is Habit.ANSWER:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        try:
            sock.connect(self._address)
            sock.setblocking(False)
            self._socket, self._said = sock, 0
            self._told.update(open=1, came=1)
            if self._habit in (Habit.KEPT, Habit.ANSWER):
                sock.send(self._request + b"\r\n")
            if self._habit is Habit.BODY:
                sock.send(b"POST" + self._request[3:] + b"Content-Length: 1000000\r\n\r\n")
        except OSError:
            sock.close()
            self._go("refused")

    def _stay(self, sock: socket.socket) -> bool:
        """Whether the server still wants it here. Raises OSError."""
        if self._habit is Habit.HEAD:
            head = self._request + b"X: " + b"x" * 30_000
            sock.send(head[self._said : self._said + 1])
            self._said += 1
        if self._habit is Habit.BODY:
            sock.send(b"x")
        try:
            return bool(sock.recv(1 if self._habit is Habit.ANSWER else 256 * 1024))
        except BlockingIOError:
            return True

    def _go(self, how: str) -> None:
        self._told[how] += 1
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._told["open"] -= 1
        self._back_at = time.monotonic() + AWAY_SECONDS.get(self._habit, 0.0)


def main(habit: str, count: str, host: str, port: str, path: str) -> int:
    """Loiter until nobody holds standard input any more."""
    raise_files_limit()
    os.nice(10)  # these clients are of other machines: they take no time from those who measure
    told: Counter[str] = Counter()
    all_of_them = [_Loiterer(Habit(habit), (host, int(port)), path, told) for _ in range(int(count))]
    tick = 0
    while not select.select([sys.stdin], [], [], 1 / TICKS)[0]:
        for each in all_of_them[tick % TICKS :: TICKS]:
            each.turn()
        tick += 1
        if tick % TICKS == 0:
            print(json.dumps(told), flush=True)
    return 0


class Loitering:
    """What is known of loiterers; ``told`` by habit, as of the last second."""

    def __init__(self) -> None:
        self.told: dict[Habit, Counter[str]] = {}

    def total(self, what: str) -> int:
        """Of all habits: ``open`` now; ``came``, were ``sent_away``, ``cut`` or ``refused`` so far."""
        return sum(told[what] for told in self.told.values())


@asynccontextmanager
async def loitering(url: str, path: str, counts: Mapping[Habit, int]) -> AsyncIterator[Loitering]:
    """So many of each habit at the server at ``url``; enters once all have come. ``path`` is what is taken slowly.

    Raises TimeoutError.
    """
    address = urlsplit(url)
    crowd = Loitering()
    async with AsyncExitStack() as processes:
        for habit, count in counts.items():
            await processes.enter_async_context(
                _process(crowd, habit, str(count), str(address.hostname), str(address.port), path)
            )
        async with asyncio.timeout(PATIENCE):
            while any(crowd.told[habit]["came"] < count for habit, count in counts.items()):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        yield crowd


@asynccontextmanager
async def _process(crowd: Loitering, habit: Habit, *arguments: str) -> AsyncIterator[None]:
    crowd.told[habit] = Counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dpm_testkit.loiterers", habit, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip

    async def listen() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            crowd.told[habit] = Counter(json.loads(line))

    listening = asyncio.create_task(listen())
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            await asyncio.wait_for(process.wait(), CONNECT_SECONDS)
        if process.returncode is None:
            process.kill()
            await process.wait()
        await listening


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
