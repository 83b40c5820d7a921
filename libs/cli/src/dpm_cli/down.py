"""``dpm down``: the end of a node, or of what is left of one that was killed."""

import asyncio
import os
import signal

from dpm_cli import control, mounts
from dpm_cli.control import Say
from dpm_cli.lock import NodeLock
from dpm_cli.node import forget
from dpm_cli.outcome import NotRunning
from dpm_cli.services import installed
from dpm_core.errors import Unavailable
from dpm_runtime.home import Home

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
    try:
        await control.ask(home, {"do": "down"}, say, LONGEST_SECONDS)
    except NotRunning:
        if lock.free():
            _sweep(home, lock, say)
            return
        pid = lock.holder()  # it is about to listen, or about to end
        if pid is None:
            raise Unavailable(f"a node has {home.root} and says not which process it is") from None
        os.kill(pid, signal.SIGTERM)
    async with asyncio.timeout(LONGEST_SECONDS):
        while not lock.free():  # noqa: ASYNC110 - another process lets go of it
            await asyncio.sleep(POLL_SECONDS)
    say("the node has ended")


def _sweep(home: Home, lock: NodeLock, say: Say) -> None:
    with lock:
        left = forget(home, sorted(installed()), say)
        mounted = mounts.is_mounted(home.mount)
        if mounted and not mounts.detach(home.mount):
            raise Unavailable(f"{home.mount} is still mounted", advice=f"unmount it: umount -l {home.mount}")
        if mounted:
            say(f"{home.mount} was left mounted: unmounted")
    if not left and not mounted:
        raise NotRunning(home.root)
