"""``dpm down``: the end of a node, or of what is left of one that was killed."""

import asyncio
import contextlib
import os
import signal

import psutil

from dpm_cli import control
from dpm_cli.control import Say
from dpm_cli.lock import NodeLock
from dpm_cli.node import forget
from dpm_cli.outcome import NotRunning
from dpm_cli.services import installed
from dpm_core.errors import Unavailable
from dpm_runtime.home import Home
from dpm_runtime.mounts import detach, mounted_at

LONGEST_SECONDS = 90.0
"""Every service of a node may take its grace to end."""

POLL_SECONDS = 0.02


async def down(home: Home, say: Say) -> None:
    """Stop the node of this home and return when it has let go of it.

    Without a node, ends what a killed one left. Raises NotRunning if there is nothing of that either,
    AlreadyRunning if one starts at this very moment, Unavailable if the node does not end, or if something of
    it cannot be removed.
    """
    if not home.run.exists():
        raise NotRunning(home.root)
    lock = NodeLock(home)
    pid = lock.holder()
    node = _process(pid)
    try:
        await control.ask(home, {"do": "down"}, say, LONGEST_SECONDS)
    except NotRunning:
        if lock.free():
            _sweep(home, lock, say)
            return
        if pid is None:
            raise Unavailable(f"a node has {home.root} and says not which process it is") from None
        os.kill(pid, signal.SIGTERM)  # it is about to listen, or about to end
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            while not lock.free() or _lives(node):  # noqa: ASYNC110 - another process ends
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise Unavailable(f"the node (pid {pid}) has not ended after {LONGEST_SECONDS:g} s") from None
    say("the node has ended")


def _process(pid: int | None) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        return None if pid is None else psutil.Process(pid)
    return None


def _lives(process: psutil.Process | None) -> bool:
    with contextlib.suppress(psutil.Error):
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _sweep(home: Home, lock: NodeLock, say: Say) -> None:
    with lock:
        left = forget(home, sorted(installed()), say)
        mounted = mounted_at(home.mount)
        if mounted and not detach(home.mount):
            raise Unavailable(f"{home.mount} is still mounted", advice=f"unmount it: umount -l {home.mount}")
        if mounted:
            say(f"{home.mount} was left mounted: unmounted")
    if not left and not mounted:
        raise NotRunning(home.root)
