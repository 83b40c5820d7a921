"""Files given by streams of libp2p: HTTP on a port of the loopback, to which this network's Kubo forwards members.

Whoever asks shows that it knows the swarm key: other users of the machine reach the port, too.
"""

import asyncio
import hmac
import logging
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dpm_core.cids import Cid
from dpm_core.errors import Invalid, Unavailable
from dpm_core.ports import Clock
from dpm_core.seals import hkdf_sha256
from dpm_core.swarm_keys import SwarmKey
from dpm_peer.kubo_rpc import KuboRpc
from dpm_peer.swarm import Lot
from dpm_runtime.disk import Descriptor
from dpm_runtime.hangup import HungUp, unless_gone
from dpm_runtime.outlet import EXTENSION, Outlet
from dpm_runtime.serving import serving, tcp_listeners

PROTOCOL = "/x/dpm/files/1"
"""As libp2p knows it: who does not speak it is not asked by it."""

PATH = "/files/"

PIECE = 256 * 1024

AGAIN_SECONDS = 1.0
"""Before Kubo is told again of the port where that failed."""

_ADDRESS = "127.0.0.1"
_RANGE = re.compile(r"bytes=([0-9]{1,18})-\Z")

log = logging.getLogger(__name__)


def admission(key: SwarmKey) -> str:
    """The header Authorization of who has the swarm key."""
    return f"Bearer {hkdf_sha256(key.raw, b'dpm files v1').hex()}"


@dataclass(frozen=True)
class Giving:
    """Gives what ``holds`` says is shared and ``describe`` finds, to those who have the ``key`` of now."""

    holds: Callable[[Cid], bool]
    describe: Callable[[Cid], Lot | None]
    key: Callable[[], SwarmKey]

    async def run(self, rpc: KuboRpc, up: Callable[[int], Awaitable[int]], clock: Clock) -> None:
        """Serve, and have Kubo forward to it whenever it has started, for ever. ``up`` as :meth:`Kubo.up`."""
        [listener] = tcp_listeners("streams", (_ADDRESS,), 0)
        async with serving(self, [listener]):
            target = f"/ip4/{_ADDRESS}/tcp/{listener.getsockname()[1]}"
            starts = 0
            while True:
                try:
                    now = await up(starts)
                    await rpc.forward_to(PROTOCOL, target)
                    starts = now
                except Unavailable as why:
                    log.debug("no streams: %s", why)
                    await clock.sleep(AGAIN_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        request = Request(scope)
        try:
            cid, offset = self._asked(request)
            lot, file = await asyncio.to_thread(self._opened, cid, offset)
        except (Invalid, Unavailable, OSError):  # nobody is told more than that it is not to be had
            await Response(status_code=404)(scope, receive, send)
            return
        try:
            await unless_gone(
                scope, receive, _sent(file, lot.size, offset, send, scope["extensions"].get(EXTENSION))
            )
        except HungUp:
            log.debug("a member took less than all of a file")
        finally:
            file.close()

    def _asked(self, request: Request) -> tuple[Cid, int]:
        """What, which is shared, and from where on. Raises Invalid, OSError."""
        shown = request.headers.get("authorization", "")
        if not hmac.compare_digest(shown.encode(), admission(self.key()).encode()):
            raise Invalid("not a member")
        cid = Cid(request.url.path.removeprefix(PATH))
        begins = _RANGE.match(request.headers.get("range", "bytes=0-"))
        if not self.holds(cid) or begins is None:
            raise Invalid("not shared")
        return cid, int(begins[1])

    def _opened(self, cid: Cid, offset: int) -> tuple[Lot, Descriptor]:
        """Blocks. Raises Invalid, Unavailable, OSError."""
        lot = self.describe(cid)
        if lot is None or offset > lot.size:
            raise Invalid("not here")
        return lot, Descriptor.open(lot.path)


async def _sent(file: Descriptor, size: int, offset: int, send: Send, outlet: Outlet | None) -> None:
    headers = [(b"content-length", str(size - offset).encode())]
    await send({"type": "http.response.start", "status": 206 if offset else 200, "headers": headers})
    if outlet is not None and size - offset > PIECE:
        try:
            offset += await outlet.pour(file, offset, size - offset, _in_a_thread)
        except ConnectionError as error:
            raise HungUp from error
    while offset < size:
        data = await asyncio.to_thread(_read, file, offset, min(PIECE, size - offset))
        if not data:  # short of its length: the server hangs up
            return
        offset += len(data)
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _read(file: Descriptor, offset: int, size: int) -> bytes:
    fd = file.take()
    try:
        return os.pread(fd, size, offset)
    finally:
        file.give_back()


async def _in_a_thread(work: Callable[[], None]) -> None:
    await asyncio.to_thread(work)
