"""fusefs: shows the store of a node's home at ``<home>/mnt``."""

import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack
from typing import Any

from dpm_core.errors import Conflict, Invalid, Unavailable
from dpm_core.ports import Tap
from dpm_core.registry import from_json
from dpm_core.taps import REMOVED, Removed
from dpm_fusefs.filesystem import FileSystem
from dpm_fusefs.meters import Meters
from dpm_fusefs.session import mounted
from dpm_fusefs.silence import Silence
from dpm_runtime.bus_address import bus_url
from dpm_runtime.nats_bus import NatsBus
from dpm_runtime.ofd_lock import OfdLock
from dpm_runtime.service import ServiceContext, run_service
from dpm_runtime.store import DiskBlobStore

NAME = "fusefs"

log = logging.getLogger(__name__)


async def serve(context: ServiceContext) -> None:
    """Mount, answer until told to stop, unmount. Raises Unavailable if it cannot mount, or the mount goes."""
    context.readiness.waiting("mount", "not mounted yet")
    home = context.home
    async with AsyncExitStack() as resources:
        try:
            resources.enter_context(OfdLock.acquire(home.run / f"{NAME}.lock"))
        except Conflict:
            raise Unavailable(
                f"another fusefs serves {home.root}", advice="one is enough: stop it first"
            ) from None
        store = DiskBlobStore(home)
        resources.push_async_callback(store.close)
        tap = await _tap(context, resources)
        files = FileSystem(store, home.blobs, tap, Meters())
        serving = await resources.enter_async_context(mounted(files, home.mount))
        context.readiness.ready("mount")
        log.info("mounted", extra={"mount": str(home.mount)})
        hearing = asyncio.create_task(_hear_of_removed(tap, files))
        resources.callback(hearing.cancel)
        stopping = asyncio.create_task(context.stop.wait())
        resources.callback(stopping.cancel)
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not context.stop.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                serving.result()
            raise Unavailable(f"somebody unmounted {home.mount}")


async def _hear_of_removed(tap: Tap, files: FileSystem) -> None:
    async for message in tap.listen(REMOVED):
        with contextlib.suppress(Invalid):
            files.removed(from_json(message, Removed).cids)


async def _tap(context: ServiceContext, resources: AsyncExitStack) -> Tap:
    """The bus if the node has one and this service a key for it. It is never waited for: files are shown
    without it too.
    """
    key = context.home.key(NAME)
    if not key.exists():
        return Silence()
    try:
        url = bus_url(context.home)
    except Unavailable:
        return Silence()
    bus = await resources.enter_async_context(NatsBus.open(url, NAME, key))
    return bus.tap


def main(**overrides: Any) -> int:
    """Run the service; returns the exit status."""
    return run_service(NAME, serve, **overrides)
