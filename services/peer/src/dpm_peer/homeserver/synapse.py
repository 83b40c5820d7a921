"""A Synapse that is a child of this process, kept running."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from dpm_core.backoff import Backoff
from dpm_core.errors import DpmError, Unavailable
from dpm_peer.homeserver.place import HomeserverPlace
from dpm_peer.homeserver.synapse_config import SynapseSettings, configuration, logging_configuration
from dpm_runtime.tied import tied_command

READY_SECONDS = 120.0
"""How long it may take to answer: it makes its database at its first start. It takes 3 s here."""

DEAF_SECONDS = 60.0
"""One that did not answer for so long is killed, and started again."""

ANSWER_SECONDS = 10.0
LOOK_SECONDS = 5.0
GRACE_SECONDS = 10.0
"""How long it may take to end before it is killed."""

LOG_LIMIT_BYTES = 16 * 1024 * 1024
"""A log larger than this becomes ``<name>.log.1`` when it starts."""

PAUSES = Backoff(first=1.0, most=60.0)

_POLL_SECONDS = 0.1

log = logging.getLogger(__name__)

Ails = Callable[[str | None], None]
"""Told why it does not answer, and None once it does."""


class Synapse:
    """Its files are in ``place``, its words go to ``output``; ``program`` finds it, and may raise Unavailable."""

    def __init__(
        self,
        place: HomeserverPlace,
        settings: SynapseSettings,
        program: Callable[[], Path],
        output: Path,
        ails: Ails = lambda why: None,
    ) -> None:
        self.settings = settings
        self.pid: int | None = None
        """Of the process that answers."""
        self._place = place
        self._program = program
        self._output = output
        self._ails = ails
        self._up = asyncio.Event()
        self._why = "it has not answered yet"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Synapse"]:
        """Run it, and start it again whenever it ends, while the context lasts."""
        keeping = asyncio.create_task(self._keep(), name="synapse")
        try:
            yield self
        finally:
            keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeping

    async def up(self, seconds: float = READY_SECONDS) -> None:
        """Wait until it answers. Raises Unavailable if it does not in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._up.wait()
        except TimeoutError:
            raise Unavailable(f"the homeserver does not run: {self._why}") from None

    async def answering(self, seconds: float = READY_SECONDS) -> None:
        """Wait until one answers there, whoever runs it. Raises Unavailable if none does in time."""
        async with aiohttp.ClientSession() as session:
            deadline = time.monotonic() + seconds
            while not await self._answers(session):
                if time.monotonic() >= deadline:
                    raise Unavailable(f"the homeserver does not answer at {self.settings.url}: see {self._output}")
                await asyncio.sleep(_POLL_SECONDS)

    async def _keep(self) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._run()
            except (DpmError, OSError) as error:
                self._ail(str(error))
            failures = 1 if time.monotonic() - began >= PAUSES.healthy else failures + 1
            pause = PAUSES.after(failures)
            log.warning("the homeserver does not run: %s; it starts again in %.1f s", self._why, pause)
            await asyncio.sleep(pause)

    async def _run(self) -> None:
        """One run of it. Raises Unavailable, with how it ended; Invalid, OSError."""
        config = await asyncio.to_thread(self._configure)
        process = await self._begin(config)
        try:
            async with aiohttp.ClientSession() as session:
                await self._ready(process, session)
                self.pid = process.pid
                self._why = ""
                self._up.set()
                self._ails(None)
                await self._answering(process, session)
        finally:
            self.pid = None
            self._up.clear()
            await _end(process)

    def _configure(self) -> Path:
        place = self._place
        document = configuration(place.folder, place.secrets(), self.settings)
        place.write("log.yaml", json.dumps(logging_configuration()).encode())
        return place.write("homeserver.yaml", json.dumps(document, indent=2).encode())

    async def _begin(self, config: Path) -> asyncio.subprocess.Process:
        path = self._output
        if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        environment = {"HOME": str(self._place.folder), "PATH": os.environ.get("PATH", os.defpath)}
        with path.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *tied_command(str(self._program()), "--config-path", str(config)), env=environment, umask=0o077,
                cwd=self._place.folder, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    async def _ready(self, process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while process.returncode is None and time.monotonic() < deadline:
            if await self._answers(session):
                return
            await asyncio.sleep(_POLL_SECONDS)
        how = "it does not answer" if process.returncode is None else f"it ended with {process.returncode}"
        raise Unavailable(f"{how}: see {self._output}")

    async def _answering(self, process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> None:
        """Wait while it does. Raises Unavailable."""
        heard, stamp = time.monotonic(), self._stamp()
        ended = asyncio.ensure_future(process.wait())
        try:
            while not (await asyncio.wait({ended}, timeout=LOOK_SECONDS))[0]:
                now = time.monotonic()
                if await self._answers(session):
                    heard = now
                    self._ails(None)
                elif now - heard >= DEAF_SECONDS:
                    raise Unavailable(f"it does not answer any more: see {self._output}")
                else:
                    self._ails("it does not answer")
                if self._stamp() != stamp:  # a renewed certificate
                    stamp = self._stamp()
                    process.send_signal(signal.SIGHUP)
        finally:
            ended.cancel()
        raise Unavailable(f"it ended with status {process.returncode}: see {self._output}")

    async def _answers(self, session: aiohttp.ClientSession) -> bool:
        """Whether it is there."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS), session.get(f"{self.settings.url}health") as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def _stamp(self) -> tuple[int, ...]:
        with contextlib.suppress(OSError):
            return tuple(path.stat().st_mtime_ns for path in self.settings.tls or ())
        return ()

    def _ail(self, why: str) -> None:
        self._why = why
        self._ails(why)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
