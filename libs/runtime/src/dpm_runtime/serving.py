"""An ASGI application on sockets of ours, for as long as a context lasts."""

import asyncio
import contextlib
import errno
import logging
import os
import socket as sockets
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from dpm_core.errors import Invalid, Unavailable
from dpm_runtime.porter import Porter
from dpm_runtime.server_tls import ServerTls

LONGEST_SOCKET_PATH = 107
"""Bytes of a unix socket's path that the kernel takes (unix(7): sun_path, less its end)."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""

ACCEPTED_AT_ONCE = 64
"""Connections accepted before anybody else has a turn. asyncio has one number for this and for the backlog."""

UNSENT = 128 * 1024
"""Bytes that the system takes for a client beyond those under way to it."""

IDLE_SECONDS = 75
"""How long a connection is kept for the next request. It is longer than any Retry-After of ours: a client that
waits as told is not to find it closed under its next request. In a crowd those go first who say nothing.
"""

_GRACE_SECONDS = 2

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, porter: Porter) -> None:
        super().__init__(config)
        self.up = asyncio.Event()
        self._porter = porter

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the service, which ends its parts in order."""
        yield

    async def startup(self, sockets: list[sockets.socket] | None = None) -> None:
        if self.config.ssl is None:
            await super().startup(sockets)
        else:
            await super().startup([])
            self.servers = [await self._accepting(listener) for listener in sockets or ()]
        self.up.set()

    async def _accepting(self, listener: sockets.socket) -> asyncio.Server:
        """As uvicorn would, but a client must finish TLS in the time that it has for a request's head."""
        return await asyncio.get_running_loop().create_server(
            lambda: self._porter.protocol(
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            ),
            sock=listener,
            ssl=self.config.ssl,
            ssl_handshake_timeout=self._porter.limits.head_seconds,
            backlog=self.config.backlog,
        )


@contextlib.asynccontextmanager
async def serving(
    app: Any,
    listeners: Sequence[sockets.socket],
    *,
    porter: Porter | None = None,
    tls: ServerTls | None = None,
    **options: Any,
) -> AsyncIterator[None]:
    """Serve ``app`` on sockets that are bound already, by uvicorn with ``options`` (as for uvicorn.Config).

    ``porter`` says what is put up with from clients; with ``tls`` they come by https. Enters once it accepts;
    leaving stops accepting, gives requests under way a moment, and closes the sockets.
    """
    porter = porter or Porter()
    settings: dict[str, Any] = {
        "http": porter.protocol,
        "ws": "none",
        # who forwards to us is not told apart from whoever claims to
        "proxy_headers": False,
        "lifespan": "off",
        "access_log": False,
        "log_config": None,
        "log_level": "warning",
        "server_header": False,
        "backlog": ACCEPTED_AT_ONCE,
        "timeout_keep_alive": IDLE_SECONDS,
        "timeout_graceful_shutdown": _GRACE_SECONDS,
    }
    for listener in listeners:
        if listener.family != sockets.AF_UNIX:
            # asyncio does so for sockets that know their protocol, which those from create_server do not: without
            # it the second part of an answer waits for the client to confirm the first, up to 40 ms
            listener.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
            # what a client does not take is to stay where it is, and not fill the system's memory for all sockets
            listener.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NOTSENT_LOWAT, UNSENT)
    if tls is not None:
        settings["ssl_context_factory"] = lambda *_: tls.context
    server = _Server(uvicorn.Config(app, **{**settings, **options}), porter)
    running = asyncio.create_task(server.serve(list(listeners)))
    keeping = [asyncio.create_task(each.keep()) for each in (porter, tls) if each is not None]
    up = asyncio.create_task(server.up.wait())
    try:
        await asyncio.wait({running, up}, return_when=asyncio.FIRST_COMPLETED)
        if not server.up.is_set():
            running.result()
        for listener in listeners:
            listener.listen(BACKLOG)
        yield
    finally:
        up.cancel()
        server.should_exit = True
        await running
        for each in keeping:
            each.cancel()


@contextlib.asynccontextmanager
async def serving_on_socket(app: Any, path: Path, **options: Any) -> AsyncIterator[None]:
    """Serve ``app`` on the unix socket ``path``, as :func:`serving` does; the file is removed at the end.

    Raises Invalid as :func:`unix_listener` does.
    """
    listener = unix_listener(path)
    try:
        async with serving(app, [listener], **options):
            yield
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def unix_listener(path: Path) -> sockets.socket:
    """A listening unix socket that only its user may use (0600), in place of a stale one.

    Raises Invalid if the path is too long for a socket.
    """
    # under another name first: who finds the file may connect at once, and nobody finds it with wider rights
    fresh = path.with_name(path.name + "~")
    if len(bytes(fresh)) > LONGEST_SOCKET_PATH:
        raise Invalid(f"{path} is too long for a socket ({LONGEST_SOCKET_PATH - 1} bytes): choose a shorter home")
    fresh.unlink(missing_ok=True)
    listener = sockets.socket(sockets.AF_UNIX, sockets.SOCK_STREAM)
    try:
        listener.bind(str(fresh))
        fresh.chmod(0o600)
        listener.listen()
        fresh.rename(path)
    except BaseException:
        listener.close()
        fresh.unlink(missing_ok=True)
        raise
    return listener


def tcp_listeners(what: str, addresses: Sequence[str], port: int, *, shared: bool = False) -> list[sockets.socket]:
    """A listening socket an address, all on one port; an address that this machine has not is left out.

    ``what`` is the setting that gives the port. If it is ``shared``, the kernel deals connections out to all
    processes that listen so. Raises Unavailable if the port cannot be listened on, Invalid if
    there is no address.
    """
    listeners: list[sockets.socket] = []
    missing = ""
    try:
        for address in addresses:
            family = sockets.AF_INET6 if ":" in address else sockets.AF_INET
            try:
                listener = sockets.create_server(
                    (address, port), family=family, backlog=BACKLOG, reuse_port=shared
                )
            except OSError as error:
                missing = f"{what}: cannot listen on {address} port {port}: {os.strerror(error.errno or 0)}"
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise Unavailable(missing) from error
                log.warning("this machine has no such address", extra={"address": address})
                continue
            listeners.append(listener)
            port = listener.getsockname()[1]
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    if not listeners:
        raise Unavailable(missing) if missing else Invalid("listen names no address")
    return listeners
