"""Services that are loaded together, in one process that forks each off: a node's start costs a third.

The process lives while a node starts. What starts later, or again, is loaded by itself, as it is installed then.
"""

import asyncio
import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import BinaryIO

from dpm_cli import launch

_SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, prctl(2)


class Forked:
    """A service that was forked off: what :class:`asyncio.subprocess.Process` is of others."""

    def __init__(self, pid: int, gate: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._gate: BinaryIO | None = os.fdopen(gate, "wb", buffering=0)
        self._ended = asyncio.ensure_future(self._end())

    def begin(self) -> None:
        """Let it run; until then it is loaded, and waits."""
        gate, self._gate = self._gate, None
        if gate is not None:
            with gate, suppress(BrokenPipeError):  # it has ended
                gate.write(b"\n")

    def terminate(self) -> None:
        """SIGTERM, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, signal.SIGTERM)

    async def wait(self) -> int:
        """Its exit status, once it has ended."""
        return await asyncio.shield(self._ended)

    async def _end(self) -> int:
        loop, ended, descriptor = asyncio.get_running_loop(), asyncio.Event(), os.pidfd_open(self.pid)
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        _, status = os.waitpid(self.pid, os.WNOHANG)  # noqa: ASYNC222 - it does not wait
        self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class Loader:
    """The process that loads and forks, asked over ``channel``."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def running(cls, environment: Mapping[str, str]) -> AsyncIterator["Loader | None"]:
        """A loader whose services get this environment; None where there can be none. Raises OSError."""
        if sys.platform != "linux":
            yield None
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, _adopting():
            ours.setblocking(False)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", launch.__file__, str(os.getpid()), "--together", str(theirs.fileno()),
                    pass_fds=(theirs.fileno(),), env=environment, start_new_session=True,
                    stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                )  # fmt: skip
            try:
                yield cls(ours)
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def fork(self, service: str, log: BinaryIO) -> Forked | None:
        """The service that is installed under this name, loaded, its output appended to ``log``.

        None if it is to be run by itself: it cannot be loaded so, or the loader has ended.
        """
        asked = asyncio.ensure_future(self._ask(service, log))
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            with suppress(OSError):
                if forked := await asked:
                    forked.terminate()
            raise
        except OSError:
            return None

    async def _ask(self, service: str, log: BinaryIO) -> Forked | None:
        async with self._turn:
            reading, gate = os.pipe()
            try:
                socket.send_fds(self._channel, [json.dumps(service).encode()], [reading, log.fileno()])
                answer = await asyncio.get_running_loop().sock_recv(self._channel, launch.REQUEST_BYTES)
                pid = json.loads(answer or b"null")
            except BaseException:
                os.close(gate)
                raise
            finally:
                os.close(reading)
            if pid is None:
                os.close(gate)
                return None
            return Forked(int(pid), gate)


@contextmanager
def _adopting() -> Iterator[None]:
    """Meanwhile orphans that children of this process leave become its own children."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
