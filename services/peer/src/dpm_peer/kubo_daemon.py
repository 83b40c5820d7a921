"""One Kubo: its repository on disk, and the daemon over it, a child of this process that is kept running."""

import asyncio
import contextlib
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpm_core.backoff import Backoff
from dpm_core.errors import Invalid, Unavailable
from dpm_core.multiaddrs import Address, PeerId
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.kubo_config import ANY_ADDRESS, PROFILES, KuboSettings, configuration
from dpm_peer.kubo_rpc import KuboRpc
from dpm_runtime.disk import replace_file
from dpm_runtime.ofd_lock import OfdLock
from dpm_runtime.tied import tied_command

READY_SECONDS = 60.0
"""How long a daemon may take to answer. It takes 0.1 s, and longer where a large index is read again."""

GRACE_SECONDS = 10.0
"""How long it may take to end before it is killed."""


@dataclass(frozen=True)
class Pulse:
    """How it is noticed that a daemon runs and does nothing: it is asked ``every`` so many seconds.

    It has ``answer`` seconds to answer (that takes a millisecond); after it has ``missed`` so many in a row it is
    killed.
    """

    every: float = 5.0
    answer: float = 10.0
    missed: int = 3


LOG_LIMIT_BYTES = 16 * 1024 * 1024
"""A log larger than this becomes ``<name>.log.1`` when the daemon starts."""

_POLL_SECONDS = 0.02

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KuboPlace:
    """Where a Kubo and all that is its own lies.

    ``repository`` is a sibling of the folder of blobs, since Kubo references only files below its parent; it may
    be deleted. ``identity`` (the key behind the peer's id) and ``swarm_key`` may not. ``program`` is ``ipfs``;
    ``api`` the path of its socket, of at most 100 characters.
    """

    program: str
    repository: Path
    identity: Path
    swarm_key: Path
    api: Path
    log: Path
    listen: tuple[str, ...] = ANY_ADDRESS
    announce: tuple[str, ...] = ()


class Kubo:
    """A daemon that is kept running: started again after a pause when it dies, and ended with us.

    ``pid`` is that of the daemon while one runs, ``peer_id`` the peer's once it was up, ``starts`` how often it
    has become ready: at each start it has forgotten to whom it was connected.
    """

    rpc: KuboRpc

    def __init__(self, place: KuboPlace, backoff: Backoff | None = None, pulse: Pulse | None = None) -> None:
        self.place = place
        self._pulse = pulse or Pulse()
        self.pid: int | None = None
        self.peer_id: PeerId | None = None
        self.starts = 0
        self._backoff = backoff or Backoff()
        self._token = secrets.token_urlsafe(32)
        self._process: asyncio.subprocess.Process | None = None
        self._changed = asyncio.Condition()
        self._up = False
        self._anew = False
        self._at_once = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Kubo"]:
        """Keep it running meanwhile; ``up`` waits until it answers.

        Raises Invalid without a swarm key that can be read: it is never started without one.
        """
        self._read_key()
        if len(str(self.place.api)) > 100:
            raise Invalid(f"the path of Kubo's socket is too long: {self.place.api}")
        self.rpc = KuboRpc(self.place.api, self._token)
        keeper = asyncio.create_task(self._keep())
        try:
            yield self
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
            await self._end()
            await self.rpc.close()

    async def up(self, *, after: int = 0, seconds: float | None = READY_SECONDS) -> int:
        """Wait until it answers, having started more than ``after`` times; returns how often it has.

        Raises Unavailable after ``seconds``; with None it is waited for as long as it takes.
        """
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._up and self.starts > after)
                return self.starts
        except TimeoutError:
            raise Unavailable(f"Kubo does not start: see {self.place.log}") from None

    async def addresses(self) -> tuple[Address, ...]:
        """Where it can be reached: what it announces, else the addresses of this machine that it listens on.

        Raises Unavailable.
        """
        return (await self.rpc.identity())[1]

    async def restart(self) -> None:
        """End it and start it at once, with the swarm key that lies there now; returns when it answers.

        Raises Unavailable.
        """
        starts = self.starts
        self._at_once.set()
        await self._end()
        await self.up(after=starts)

    async def renew(self) -> None:
        """Restart it with an empty repository, as the same peer. Raises Unavailable."""
        self._anew = True
        await self.restart()

    def _read_key(self) -> SwarmKey:
        try:
            return SwarmKey.read(self.place.swarm_key.read_text())
        except (OSError, UnicodeDecodeError):
            raise Invalid(f"there is no swarm key at {self.place.swarm_key}: Kubo is not started") from None

    async def _keep(self) -> None:
        failures = 0
        while True:
            ready = None
            try:
                process = await self._begin()
                ready = time.monotonic()
                what = await self._until_it_ends(process)
            except (Unavailable, Invalid, OSError) as error:
                what = str(error)
                await self._end()
                self._anew = self._anew or await self._spoilt()
            await self._say(up=False)
            if self._at_once.is_set():
                self._at_once.clear()
                continue
            healthy = ready is not None and time.monotonic() - ready >= self._backoff.healthy
            failures = 1 if healthy else failures + 1
            pause = self._backoff.after(failures)
            log.warning("Kubo of %s does not run: %s; it starts again in %.1f s", self._name, what, pause)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):  # wait_for of Python 3.11 may lose a cancellation
                    await self._at_once.wait()

    async def _until_it_ends(self, process: asyncio.subprocess.Process) -> str:
        """Why it runs no more. One that does not answer any more is killed."""
        missed = 0
        while missed < self._pulse.missed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pulse.every):
                    return f"it ended with status {await process.wait()}"
            try:
                await self.rpc.identity(seconds=self._pulse.answer)
                missed = 0
            except Unavailable:
                missed += 1
        process.kill()
        await process.wait()
        return f"it did not answer {missed} times"

    async def _begin(self) -> asyncio.subprocess.Process:
        if self._anew or not (self.place.repository / "config").exists():
            await asyncio.to_thread(shutil.rmtree, self.place.repository, ignore_errors=True)
            await self._initialise()
            self._anew = False
        self._at_once.clear()
        await asyncio.to_thread(self._configure)
        process = self._process = await self._run("daemon")
        self.peer_id = await self._ready(process)
        self.pid = process.pid
        self.starts += 1
        await self._say(up=True)
        return process

    async def _initialise(self) -> None:
        made = await self._run("init", f"--profile={PROFILES}")
        if await made.wait():
            raise Unavailable(f"Kubo cannot make a repository: see {self.place.log}")

    def _configure(self) -> None:
        """Write what the daemon reads when it starts. Raises Invalid, OSError."""
        place = self.place
        settings = KuboSettings(place.api, self._token, place.listen, place.announce)
        document = configuration(self._identity(), settings)
        _write(place.repository / "config", json.dumps(document, indent=2))
        _write(place.repository / "swarm.key", self._read_key().text)
        place.api.unlink(missing_ok=True)

    def _identity(self) -> dict[str, str]:
        """The one that is kept; else that with which the repository was made, which is kept from now on."""
        with contextlib.suppress(OSError, ValueError):
            return _identity_in(json.loads(self.place.identity.read_text()))
        try:
            made = _identity_in(json.loads((self.place.repository / "config").read_text())["Identity"])
        except (OSError, ValueError, KeyError, TypeError):
            raise Invalid(f"the configuration of {self.place.repository} cannot be read") from None
        _write(self.place.identity, json.dumps(made))
        return made

    async def _run(self, *arguments: str) -> asyncio.subprocess.Process:
        path = self.place.log
        if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        environment = {
            "HOME": str(self.place.repository),
            "IPFS_PATH": str(self.place.repository),
            "LIBP2P_FORCE_PNET": "1",
            "PATH": os.environ.get("PATH", os.defpath),
        }
        with path.open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *tied_command(self.place.program, *arguments), env=environment, umask=0o077,
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

    async def _ready(self, process: asyncio.subprocess.Process) -> PeerId:
        """Wait until it answers; returns the peer's id."""
        deadline = time.monotonic() + READY_SECONDS
        while process.returncode is None and time.monotonic() < deadline:
            if self.place.api.exists():
                with contextlib.suppress(Unavailable):
                    return (await self.rpc.identity())[0]
            await asyncio.sleep(_POLL_SECONDS)
        raise Unavailable(f"the daemon did not become ready: see {self.place.log}")

    async def _spoilt(self) -> bool:
        """Whether the repository is why the daemon does not start: it cannot be opened without one either."""
        if OfdLock.held(self.place.repository / "repo.lock"):  # by the daemon of a process that has just died
            return False
        with contextlib.suppress(OSError):
            looked = await self._run("repo", "stat", "--size-only")
            return await looked.wait() != 0
        return False

    async def _end(self) -> None:
        process, self.pid = self._process, None
        self._up = False
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _say(self, *, up: bool) -> None:
        async with self._changed:
            self._up = up
            self._changed.notify_all()

    @property
    def _name(self) -> str:
        return self.place.repository.name


def _identity_in(found: Any) -> dict[str, str]:
    """Raises ValueError."""
    if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in ("PeerID", "PrivKey")):
        raise ValueError("no identity")
    return {"PeerID": found["PeerID"], "PrivKey": found["PrivKey"]}


def _write(path: Path, text: str) -> None:
    """0600 from the first byte on, and whole. Raises OSError."""
    replace_file(path, text.encode(), temporary=path.with_name(f"{path.name}~"), safe=True)
